"""The API over copies, and the page a copy is printed from."""

import mimetypes
from functools import partial
from urllib.parse import quote

from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from core.requests import api, refuse_form, request_data

from .forms import AnnotationForm, CopyForm
from .models import Copy, Exam
from .tasks import compute_total

TEACHER = get_user_model().Role.TEACHER


def copy_json(copy):
    return {
        "id": copy.pk,
        "exam": copy.exam.title,
        "held_on": copy.exam.held_on,
        "pupil": copy.pupil.display_name,
        "teacher": copy.teacher.display_name,
        "total": copy.total,
        "maximum": copy.exam.maximum,
        "scan": reverse("scan", args=[copy.pk]),
        "scan_type": mimetypes.guess_type(copy.scan.name)[0],
        "print": reverse("print-copy", args=[copy.pk]),
    }


def annotation_json(annotation):
    return {
        "id": annotation.pk,
        "author": annotation.author.display_name,
        "page": annotation.page,
        "x": annotation.x,
        "y": annotation.y,
        "text": annotation.text,
        "mark": annotation.mark,
    }


def visible_copy(request, copy_id):
    """The copy, or 404: that somebody else's exists is nobody's business."""
    return get_object_or_404(Copy.objects.visible_to(request.user), pk=copy_id)


@api("GET", role=TEACHER)
def exams(request):
    """What a scan can be filed under."""
    users = get_user_model()
    pupils = users.objects.filter(role=users.Role.PUPIL, is_active=True).order_by("username")
    return JsonResponse(
        {
            "exams": [{"id": exam.pk, "title": exam.title} for exam in Exam.objects.all()],
            "pupils": [{"id": pupil.pk, "name": pupil.display_name} for pupil in pupils],
        }
    )


@api("GET", "POST")
def copies(request):
    if request.method == "GET":
        visible = Copy.objects.visible_to(request.user)
        return JsonResponse({"copies": [copy_json(copy) for copy in visible]})
    return upload_copy(request)


@api("POST", role=TEACHER)
def upload_copy(request):
    form = CopyForm(request.POST, request.FILES, instance=Copy(teacher=request.user))
    if not form.is_valid():
        return refuse_form(form)
    return JsonResponse(copy_json(form.save()), status=201)


@api("GET")
def copy_detail(request, copy_id):
    copy = visible_copy(request, copy_id)
    notes = copy.annotations.select_related("author")
    return JsonResponse({**copy_json(copy), "annotations": [annotation_json(n) for n in notes]})


@api("GET")
def copy_scan(request, copy_id):
    """Decides who may see the scan, and leaves sending it to nginx."""
    copy = visible_copy(request, copy_id)
    content_type, _ = mimetypes.guess_type(copy.scan.name)
    response = HttpResponse(content_type=content_type or "application/octet-stream")
    response["X-Accel-Redirect"] = f"/media/{quote(copy.scan.name)}"
    response["Content-Disposition"] = "inline"
    return response


@api("POST", role=TEACHER)
def annotations(request, copy_id):
    copy = visible_copy(request, copy_id)
    form = AnnotationForm(request_data(request))
    if not form.is_valid():
        return refuse_form(form)
    annotation = form.save(commit=False)
    annotation.copy, annotation.author = copy, request.user
    with transaction.atomic():
        annotation.save()
        # Robust: the annotation is kept even if the queue cannot be reached.
        transaction.on_commit(partial(compute_total.delay, copy.pk), robust=True)
    return JsonResponse(annotation_json(annotation), status=201)


@require_safe
def print_copy(request, copy_id):
    """The annotated copy on paper: the one page rendered by the server."""
    if not request.user.is_authenticated:
        raise Http404
    copy = visible_copy(request, copy_id)
    notes = copy.annotations.select_related("author")
    return render(request, "papers/print.html", {"copy": copy, "annotations": notes})
