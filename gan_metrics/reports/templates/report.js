"use strict";
(() => {
  // The data of an image for one generator; its picture is stored once.
  const { pictures, details } = JSON.parse(document.getElementById("known").textContent);

  // Tables whose columns sort, by their numbers where these are numbers.
  const number = (cell) => {
    const value = parseFloat(cell.dataset.value || cell.textContent);
    return Number.isNaN(value) ? null : value;
  };
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return a.textContent.localeCompare(b.textContent);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column]));
        body.append(...(falling ? rows.reverse() : rows));
      });
    });
  }

  // An image that is clicked: large, with what is known of it and its neighbours.
  const dialog = document.getElementById("image");
  const item = ([key, distance]) => {
    const li = document.createElement("li");
    const button = document.createElement("button");
    const caption = document.createElement("span");
    button.type = "button";
    button.className = "image";
    button.dataset.key = key;
    button.title = details[key].name;
    const picture = pictures[details[key].picture];
    if (picture) {
      const image = document.createElement("img");
      image.src = picture;
      image.alt = "";
      button.append(image);
    }
    caption.className = "caption";
    caption.textContent = `${distance} ${details[key].name}`;
    button.append(caption);
    li.append(button);
    return li;
  };
  const show = (key) => {
    const one = details[key];
    const title = document.getElementById("image-name");
    title.textContent = one.name;
    const large = document.getElementById("image-large");
    const picture = pictures[one.picture];
    large.hidden = !picture;
    if (picture) large.src = picture;
    large.alt = one.name;
    const facts = document.getElementById("image-facts");
    facts.replaceChildren();
    for (const [name, value] of one.facts || []) {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = name;
      dd.textContent = value;
      facts.append(dt, dd);
    }
    const near = one.near || [];
    document.getElementById("image-near-title").hidden = !near.length;
    document.getElementById("image-near").replaceChildren(...near.map(item));
    if (dialog.open) title.focus(); // the button that was clicked is gone
    else dialog.showModal();
    dialog.scrollTop = 0;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.image");
    if (button) show(button.dataset.key);
    else if (event.target === dialog) dialog.close();
  });

  // Charts in the colors of the page, light or dark.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    const text = dark.matches ? "#eeeeee" : "#222222";
    for (const held of Bokeh.documents) {
      for (const model of held._all_models.values()) {
        const set = {};
        for (const name of ["axis_label", "major_label", "label", "text"]) {
          if (model[`${name}_text_color`] !== undefined) set[`${name}_text_color`] = text;
        }
        for (const name of ["axis_line_color", "major_tick_line_color"]) {
          if (model[name] !== undefined) set[name] = text;
        }
        if (Object.keys(set).length) model.setv(set);
      }
    }
  };
  dark.addEventListener("change", paint);
  // They are drawn in their own time; what is painted before that is painted again.
  const drawn = () => Bokeh.documents.length && Bokeh.documents.every((one) => one.is_idle);
  const begin = () => {
    if (!window.Bokeh) return;
    paint();
    if (!drawn()) setTimeout(begin, 100);
  };
  window.addEventListener("load", begin);
})();
