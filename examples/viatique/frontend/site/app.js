// The single page application: log in, list the copies, read and annotate one.
// All data comes from the backend's JSON under /api/.

const $ = (id) => document.getElementById(id);
const views = ["login", "list", "copy"];
let csrfToken = "";
let user = null;

function show(view) {
  for (const name of views) $(name).hidden = name !== view;
}

function say(text) {
  $("message").textContent = text;
}

// Makes an element; text is always set as text, never as markup.
function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

class Refused extends Error {}

async function call(path, body) {
  const request = { headers: {} };
  if (body !== undefined) {
    request.method = "POST";
    request.headers["X-CSRFToken"] = csrfToken;
    if (body instanceof FormData) {
      request.body = body;
    } else {
      request.headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(body);
    }
  }
  const response = await fetch(`/api/${path}`, request);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const fields = Object.entries(answer.fields ?? {}).map(([name, [first]]) => `${name}: ${first.message}`);
    throw new Refused([answer.error ?? `the server answered ${response.status}`, ...fields].join("; "));
  }
  return answer;
}

// Runs what a click or a submit asks for, and tells the person if it fails.
function doing(action) {
  return async (event) => {
    event?.preventDefault();
    say("");
    try {
      await action(event);
    } catch (error) {
      say(error instanceof Refused ? error.message : "The server cannot be reached.");
    }
  };
}

async function enter(session) {
  csrfToken = session.csrf_token;
  user = session.user;
  $("who").textContent = user ? `${user.name}, ${user.role}` : "";
  $("logout").hidden = !user;
  if (user) await showList();
  else show("login");
}

function score(copy) {
  return copy.total === null ? "not marked yet" : `${copy.total} / ${copy.maximum}`;
}

async function showList() {
  const { copies } = await call("copies/");
  $("copies").replaceChildren(...copies.map((copy) => {
    const item = element("li", `${copy.exam}, ${copy.pupil}: ${score(copy)}`);
    item.append(element("button", "Open", { type: "button", onclick: doing(() => showCopy(copy.id)) }));
    return item;
  }));
  $("upload").hidden = user.role !== "teacher";
  if (user.role === "teacher") {
    const { exams, pupils } = await call("exams/");
    const option = (value, text) => element("option", text, { value });
    $("upload").elements.exam.replaceChildren(...exams.map((exam) => option(exam.id, exam.title)));
    $("upload").elements.pupil.replaceChildren(...pupils.map((pupil) => option(pupil.id, pupil.name)));
  }
  show("list");
}

function pin(x, y, text) {
  const mark = element("span", text, { className: "pin" });
  mark.style.left = `${x * 100}%`;
  mark.style.top = `${y * 100}%`;
  return mark;
}

async function showCopy(id) {
  const copy = await call(`copies/${id}/`);
  const teaching = user.role === "teacher";
  $("copy").dataset.id = id;
  $("title").textContent = `${copy.exam}, ${copy.pupil}`;
  $("total").textContent = score(copy);
  $("print").href = copy.print;
  $("annotate").hidden = !teaching;

  const pdf = copy.scan_type === "application/pdf";
  const scan = pdf
    ? Object.assign(document.createElement("embed"), { src: copy.scan, type: copy.scan_type })
    : Object.assign(document.createElement("img"), { src: copy.scan, alt: "The scanned copy" });
  $("paper").replaceChildren(scan);
  if (!pdf) {
    $("paper").append(...copy.annotations.map((note, index) => pin(note.x, note.y, index + 1)));
    scan.onclick = teaching ? choosePlace : null;
  }
  $("annotations").replaceChildren(...copy.annotations.map((note) => {
    const points = note.mark === null ? "" : ` (${note.mark} points)`;
    return element("li", `${note.text}${points}`);
  }));
  show("copy");
}

function choosePlace(event) {
  const { x, y } = $("annotate").elements;
  x.value = (event.offsetX / event.target.clientWidth).toFixed(4);
  y.value = (event.offsetY / event.target.clientHeight).toFixed(4);
  $("paper").querySelector(".next")?.remove();
  const mark = pin(x.value, y.value, "+");
  mark.classList.add("next");
  $("paper").append(mark);
}

$("login").onsubmit = doing(async () => {
  await enter(await call("login/", Object.fromEntries(new FormData($("login")))));
  $("login").reset();
});

$("logout").onclick = doing(async () => enter(await call("logout/", {})));

$("back").onclick = doing(showList);

$("upload").onsubmit = doing(async () => {
  await call("copies/", new FormData($("upload")));
  $("upload").reset();
  await showList();
});

$("annotate").onsubmit = doing(async () => {
  const { id } = $("copy").dataset;
  await call(`copies/${id}/annotations/`, Object.fromEntries(new FormData($("annotate"))));
  $("annotate").reset();
  await showCopy(id);
  // The total is added up in the background: look once more a moment later.
  setTimeout(doing(() => $("copy").dataset.id === id && !$("copy").hidden && showCopy(id)), 1000);
});

fetch("/release.json").then((response) => response.json()).then(({ release }) => {
  $("release").textContent = release;
}).catch(() => {});

doing(async () => enter(await call("session/")))();
