// Pictures: repeated ones get the bytes of the first; a click enlarges one in a dialog; a number of a confusion matrix
// shows the mistakes of its pair alone.
"use strict";
{
  const firsts = new Map([...document.querySelectorAll("img[data-photo]")].map((each) => [each.dataset.photo, each]));
  for (const each of document.querySelectorAll("img[data-same]")) each.src = firsts.get(each.dataset.same).src;

  // -- enlarged, in the browser's own dialog: Escape closes it, and the rest of the page is inert

  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", "Enlarged picture");
  const image = document.createElement("img");
  const caption = document.createElement("div");
  caption.className = "caption";
  caption.setAttribute("aria-live", "polite");
  let shown = null;
  const neighbours = () => [...shown.closest("ul").querySelectorAll("button.photo")].filter((each) => each.checkVisibility());
  const enlarge = (button) => {
    shown = button;
    const small = button.querySelector("img");
    image.src = small.src;
    image.alt = small.alt;
    caption.replaceChildren(...button.parentElement.querySelector(".caption").cloneNode(true).childNodes);
    const all = neighbours();
    back.disabled = all[0] === button;
    on.disabled = all.at(-1) === button;
  };
  const step = (by) => {
    const all = neighbours();
    const next = all[all.indexOf(shown) + by];
    if (next) enlarge(next);
  };
  const control = (text, label, act) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
    return button;
  };
  const back = control("←", "Previous picture", () => step(-1));
  const on = control("→", "Next picture", () => step(1));
  const close = control("Close", "Close", () => dialog.close());
  const controls = document.createElement("div");
  controls.append(back, on, close);
  dialog.append(image, caption, controls);
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => shown.focus());
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("button.photo");
    if (!button) return;
    if (!dialog.isConnected) document.body.append(dialog);
    enlarge(button);
    dialog.showModal();
    close.focus();
  });

  // -- the mistakes of a pair

  const show = (list, pair, says) => {
    const pictures = [...list.querySelectorAll("li[data-pair]")];
    for (const each of pictures) each.hidden = pair !== null && each.dataset.pair !== pair;
    for (const link of list.closest(".model").querySelectorAll("a[data-pair]")) {
      if (link.dataset.pair === pair) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const status = list.querySelector(".of-pair");
    status.replaceChildren();
    if (pair === null) return;
    const visible = pictures.filter((each) => !each.hidden).length;
    status.append(`${says.words}: ${visible} of ${says.count}. `, control("Show all", "Show all mistakes", () => show(list, null)));
  };
  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.("a[data-pair]");
    if (!link) return;
    const cell = link.closest("td");
    const row = cell.parentElement;
    const table = row.closest("table");
    const predicted = table.matches(".confusion") ? table.tHead.rows[0].cells[cell.cellIndex] : row.cells[1];
    const words = `${row.cells[0].textContent}, predicted as ${predicted.textContent}`;
    const says = { words, count: link.textContent };
    show(document.getElementById(link.hash.slice(1)), link.dataset.pair, says);
  });
  addEventListener("beforeprint", () => {
    for (const list of document.querySelectorAll(".mistakes")) if (list.querySelector(".of-pair")) show(list, null);
  });
}
