"""Keeps a copy's total beside it, and allows one copy for each exam and pupil.

The column may be null, so the release before this one goes on writing copies.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("papers", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="copy",
            name="total",
            field=models.DecimalField(decimal_places=2, editable=False, max_digits=6, null=True),
        ),
        migrations.AddConstraint(
            model_name="copy",
            constraint=models.UniqueConstraint(
                fields=("exam", "pupil"), name="one_copy_per_exam_and_pupil"
            ),
        ),
    ]
