"""What a teacher may send: an annotation, or a new scan."""

from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model

from .models import Annotation, Copy

# The first bytes of the kinds of file accepted, and the suffix they are kept under.
SIGNATURES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"%PDF-": ".pdf"}


class AnnotationForm(forms.ModelForm):
    class Meta:
        model = Annotation
        fields = ["page", "x", "y", "text", "mark"]


class CopyForm(forms.ModelForm):
    class Meta:
        model = Copy
        fields = ["exam", "pupil", "scan"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        users = get_user_model()
        self.fields["pupil"].queryset = users.objects.filter(role=users.Role.PUPIL, is_active=True)

    def clean_scan(self):
        """Trusts the file's content, never its name."""
        scan = self.cleaned_data["scan"]
        if scan.size > settings.MAX_SCAN_BYTES:
            raise forms.ValidationError("the scan is larger than 20 MB")
        start = scan.read(16)
        scan.seek(0)
        for signature, suffix in SIGNATURES.items():
            if start.startswith(signature):
                scan.name = f"scan{suffix}"
                return scan
        raise forms.ValidationError("the scan must be a PNG, JPEG or PDF file")
