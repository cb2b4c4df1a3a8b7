"""Finds the annotations of one page of one copy without reading all of them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("papers", "0002_copy_total"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="annotation",
            index=models.Index(fields=["copy", "page"], name="annotation_copy_page"),
        ),
    ]
