"""Creates exams, copies and annotations."""

from django.conf import settings
import django.core.validators
from django.db import migrations, models
import django.db.models.deletion
import papers.models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Exam",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=200)),
                ("held_on", models.DateField()),
                ("maximum", models.DecimalField(decimal_places=2, default=20, max_digits=5)),
            ],
            options={
                "ordering": ["-held_on", "title"],
            },
        ),
        migrations.CreateModel(
            name="Copy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("scan", models.FileField(upload_to=papers.models.scan_path)),
                ("uploaded_at", models.DateTimeField(auto_now_add=True)),
                ("exam", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="copies", to="papers.exam")),
                ("pupil", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="copies", to=settings.AUTH_USER_MODEL)),
                ("teacher", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="copies_to_mark", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "verbose_name_plural": "copies",
                "ordering": ["exam", "pupil"],
            },
        ),
        migrations.CreateModel(
            name="Annotation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("page", models.PositiveSmallIntegerField(default=1, validators=[django.core.validators.MinValueValidator(1)])),
                ("x", models.FloatField(validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)])),
                ("y", models.FloatField(validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)])),
                ("text", models.TextField(max_length=2000)),
                ("mark", models.DecimalField(blank=True, decimal_places=2, max_digits=5, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("author", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL)),
                ("copy", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="annotations", to="papers.copy")),
            ],
            options={
                "ordering": ["page", "y", "x", "id"],
            },
        ),
    ]
