"use strict";
// The page works without this: here are keys, the time an answer took, and a word where the server does not answer.

const form = document.getElementById("answer");
const problem = document.getElementById("problem");
let busy = false;

// Time counts while the page is there to be seen.
let seen = 0;
let since = document.visibilityState === "visible" ? performance.now() : null;
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    since = performance.now();
  } else if (since !== null) {
    seen += performance.now() - since;
    since = null;
  }
});

function seconds() {
  return ((seen + (since === null ? 0 : performance.now() - since)) / 1000).toFixed(3);
}

function tell(text) {
  problem.textContent = text;
  problem.hidden = false;
  problem.scrollIntoView({ block: "nearest" });
}

async function send(sent, button) {
  if (busy) return;
  busy = true;
  problem.hidden = true;
  document.body.setAttribute("aria-busy", "true");
  const data = new FormData(sent);
  if (button && button.name) data.set(button.name, button.value);
  if (sent === form) data.set("seconds", seconds());
  try {
    const reply = await fetch(sent.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(data),
    });
    const told = await reply.json();
    if (told.next) {
      location.assign(told.next);
      return;
    }
    tell(told.problem);
  } catch {
    tell("Nothing was kept: the server does not answer. Answer again once it is back.");
  }
  busy = false;
  document.body.removeAttribute("aria-busy");
}

for (const each of document.forms) {
  each.addEventListener("submit", (event) => {
    event.preventDefault();
    send(each, event.submitter);
  });
}

// A page that the browser kept would show what stood before: ask for it anew.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

function grade(digit) {
  const axes = [...form.querySelectorAll("fieldset.axis")];
  const here = axes.find((axis) => axis.contains(document.activeElement));
  const axis = here ?? axes.find((each) => !each.querySelector("input:checked"));
  const choice = axis?.querySelector(`input[value="${digit === "0" ? "10" : digit}"]`);
  if (!choice) return;
  choice.checked = true;
  const following = axes[axes.indexOf(axis) + 1];
  if (following) {
    (following.querySelector("input:checked") ?? following.querySelector("input")).focus({ preventScroll: true });
    following.scrollIntoView({ block: "nearest" });
  } else {
    document.getElementById("save").focus();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key === "?") {
    const help = document.getElementById("help");
    if (help) help.open = !help.open;
    return;
  }
  if (form && form.querySelector("fieldset.axis") && /^[0-9]$/.test(event.key)) {
    event.preventDefault();
    grade(event.key);
    return;
  }
  const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (wanted && !wanted.disabled) {
    event.preventDefault();
    wanted.click();
  }
});

// From here on keys are heard; until then, and without this script, none is named.
document.documentElement.dataset.keys = "heard";
