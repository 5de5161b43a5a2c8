(function () {
  "use strict";
  var START = "#table?", FIRST = 200;
  var root = document.documentElement, store = null;
  try { store = window.localStorage; } catch (error) { store = null; }

  // Theme: the system's unless the button was used.
  var theme = document.getElementById("theme"), system = window.matchMedia("(prefers-color-scheme: dark)");
  function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : system.matches; }
  function showTheme() {
    theme.textContent = dark() ? "Light theme" : "Dark theme";
  }
  function remembered() { try { return store && store.getItem("report-theme"); } catch (error) { return null; } }
  if (remembered() === "dark" || remembered() === "light") { root.dataset.theme = remembered(); }
  theme.addEventListener("click", function () {
    root.dataset.theme = dark() ? "light" : "dark";
    try { if (store) { store.setItem("report-theme", root.dataset.theme); } } catch (error) { /* kept for this view only */ }
    showTheme();
  });
  system.addEventListener("change", showTheme);
  theme.hidden = false;
  showTheme();

  // The first screen: what a reader has, on which shifts and data, fills one sentence and one figure.
  (function () {
    var form = document.getElementById("chooser");
    if (form === null) { return; }
    var all = JSON.parse(document.getElementById("picks").textContent), box = document.getElementById("bars");
    var over = document.getElementById("over"), setting = document.getElementById("setting");
    var list = box.querySelector("ol"), pattern = list.querySelector("li"), said = document.getElementById("pick");

    function fits(want) {
      return all.picks.filter(function (pick) {
        return want.every(function (value, place) { return value === null || pick[place] === value; });
      });
    }

    function fill(select, texts, places, chosen) {
      select.replaceChildren.apply(select, places.map(function (place) {
        return new Option(texts[place], place, false, place === chosen);
      }));
    }

    function places(found, place) {
      return found.map(function (pick) { return pick[place]; })
        .filter(function (value, index, values) { return values.indexOf(value) === index; });
    }

    function bar(values, scale) {
      var line = pattern.cloneNode(true), wide = 100 / (scale[1] - scale[0]);
      line.className = values[4] ? "best" : "";
      line.querySelector(".name").textContent = all.names[values[0]];
      line.querySelector(".range").style.left = wide * (values[2] - scale[0]) + "%";
      line.querySelector(".range").style.width = wide * (values[3] - values[2]) + "%";
      line.querySelector(".dot").style.left = wide * (values[1] - scale[0]) + "%";
      line.querySelector(".value").textContent = values[1].toFixed(1) + " %";
      line.querySelector(".hidden").textContent = values[4] ? "cannot be told apart from the best" : "below the best";
      return line;
    }

    function show() {
      var on = Number(setting.value), shifts = places(fits([on]), 1), kept = Number(over.value);
      var where = shifts.indexOf(kept) < 0 ? shifts[0] : kept;
      fill(over, all.overs, shifts, where);
      var here = fits([on, where]), tests = places(here, 2);
      // What was not measured here cannot be chosen.
      Array.from(form.elements.test).forEach(function (input) { input.disabled = tests.indexOf(input.value) < 0; });
      if (tests.indexOf(form.elements.test.value) < 0) { form.elements.test.value = tests[0]; }
      var kinds = places(fits([on, where, form.elements.test.value]), 3);
      form.elements.source.disabled = kinds.length < 2;
      if (kinds.length < 2) { form.elements.source.checked = kinds[0] === 1; }
      var pick = fits([on, where, form.elements.test.value, Number(form.elements.source.checked)])[0], scale = pick[5];
      said.textContent = pick[4];
      list.replaceChildren.apply(list, pick[6].map(function (values) { return bar(values, scale); }));
      box.querySelectorAll(".axis span").forEach(function (end, place) { end.textContent = scale[place] + " %"; });
    }

    fill(setting, all.settings, all.settings.map(function (_, place) { return place; }), 0);
    fill(over, all.overs, places(fits([0]), 1), -1);
    form.addEventListener("change", show);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.hidden = false;
    show();
  }());

  // The table of all results.
  var source = document.getElementById("data");
  if (source === null) { return; }
  var data = JSON.parse(source.textContent);
  var columns = data.columns, rows = data.rows, flags = columns.length;
  var place = {};
  columns.forEach(function (column, index) { place[column.key] = index; });
  var box = document.getElementById("board"), head = box.querySelector("thead"), body = box.querySelector("tbody");
  var filters = document.getElementById("filters"), count = document.getElementById("count");
  var more = document.getElementById("more");
  var state = { sort: null, down: true, chosen: {}, all: false };

  function make(name, text, parent) {
    var element = document.createElement(name);
    if (text !== undefined) { element.textContent = text; }
    if (parent) { parent.appendChild(element); }
    return element;
  }

  function shown(column, value, row) {
    if (value === null) { return "-"; }
    if (column.kind === "text") { return column.values[value]; }
    if (column.kind === "percent") { return value.toFixed(1); }
    if (column.kind === "points") {
      var text = (value > 0 ? "+" : "") + value.toFixed(1);
      return text === "+0.0" || text === "-0.0" ? "0.0" : text;
    }
    if (column.kind === "spread") {
      return Array.isArray(value) ? value[0].toFixed(1) + "\u2013" + value[1].toFixed(1) : "\u00b1 " + value.toFixed(1);
    }
    return column.kind === "number" ? value.toFixed(3) : value.toLocaleString("en");
  }

  function weight(value) { return Array.isArray(value) ? (value[1] - value[0]) / 2 : value; }

  function matching() {
    var found = rows.filter(function (row) {
      return Object.keys(state.chosen).every(function (key) { return state.chosen[key].has(row[place[key]]); });
    });
    if (state.sort !== null) {
      var index = place[state.sort], sign = state.down ? -1 : 1;
      found = found.map(function (row, number) { return [row, number]; }).sort(function (one, other) {
        var a = weight(one[0][index]), b = weight(other[0][index]);
        // Absent values stay at the end, whichever way.
        if (a === null || b === null) { return (a === null) - (b === null) || one[1] - other[1]; }
        return sign * (a - b) || one[1] - other[1];
      }).map(function (pair) { return pair[0]; });
    }
    return found;
  }

  function render() {
    var found = matching(), limit = state.all ? found.length : Math.min(FIRST, found.length);
    var fresh = document.createDocumentFragment();
    for (var number = 0; number < limit; number += 1) {
      var row = found[number], line = make("tr", undefined, fresh);
      if (row[flags] & 2) { line.className = "told"; }
      columns.forEach(function (column, index) {
        var cell = make(index ? "td" : "th", shown(column, row[index]), line);
        if (!index) { cell.scope = "row"; }
        if (column.kind !== "text") { cell.className = "num"; }
        if (column.key === "delta" && row[flags] & 1) {
          var mark = make("strong", "!", cell);
          mark.className = "mark";
          mark.title = "loses more than the interval";
        }
      });
    }
    body.replaceChildren(fresh);
    head.querySelectorAll("th").forEach(function (cell, index) {
      var own = columns[index].key === state.sort;
      cell.setAttribute("aria-sort", own ? (state.down ? "descending" : "ascending") : "none");
    });
    count.textContent = limit + " of " + found.length + " results shown" + (found.length < rows.length ? ", " + rows.length + " in all" : "");
    more.hidden = limit === found.length;
    more.textContent = "Show all " + found.length;
    filters.querySelectorAll("details").forEach(function (box) {
      var chosen = state.chosen[box.dataset.key], column = columns[place[box.dataset.key]];
      box.classList.toggle("chosen", Boolean(chosen));
      box.querySelector("summary span").textContent = !chosen ? "all" : chosen.size === 1
        ? column.values[chosen.values().next().value] : chosen.size + " of " + column.values.length;
      box.querySelectorAll("input").forEach(function (input) {
        input.checked = Boolean(chosen) && chosen.has(Number(input.value));
      });
    });
  }

  function hash() {
    var parts = [];
    if (state.sort !== null) { parts.push("sort=" + (state.down ? "-" : "") + state.sort); }
    columns.forEach(function (column) {
      if (state.chosen[column.key]) {
        parts.push(column.key + "=" + Array.from(state.chosen[column.key]).sort(function (a, b) { return a - b; })
          .map(function (value) { return encodeURIComponent(column.values[value]); }).join(","));
      }
    });
    return parts.length ? START + parts.join("&") : "#results";
  }

  function keep() {
    try { window.history.replaceState(null, "", hash()); } catch (error) { window.location.hash = hash(); }
  }

  function decoded(text) { try { return decodeURIComponent(text); } catch (error) { return text; } }

  function restore() {
    if (window.location.hash.indexOf(START) !== 0) { return false; }
    state.sort = null;
    state.chosen = {};
    window.location.hash.slice(START.length).split("&").forEach(function (part) {
      var cut = part.indexOf("="), key = part.slice(0, cut), value = part.slice(cut + 1);
      if (key === "sort") {
        var name = value.replace(/^-/, "");
        if (Object.prototype.hasOwnProperty.call(place, name)) { state.sort = name; state.down = value[0] === "-"; }
      } else if (Object.prototype.hasOwnProperty.call(place, key) && columns[place[key]].filter) {
        var values = columns[place[key]].values;
        var known = value.split(",").map(function (text) { return values.indexOf(decoded(text)); })
          .filter(function (index) { return index >= 0; });
        if (known.length) { state.chosen[key] = new Set(known); }
      }
    });
    return true;
  }

  function change() { state.all = false; keep(); render(); }

  var line = make("tr", undefined, head);
  columns.forEach(function (column) {
    var cell = make("th", undefined, line), button = make("button", column.label, cell);
    cell.scope = "col";
    if (column.kind !== "text") { cell.className = "num"; }
    button.type = "button";
    if (column.title) { button.title = column.title; }
    button.addEventListener("click", function () {
      // Numbers begin with the highest, texts with the first.
      state.down = state.sort === column.key ? !state.down : column.kind !== "text";
      state.sort = column.key;
      change();
    });
  });

  columns.filter(function (column) { return column.filter; }).forEach(function (column) {
    var box = make("details", undefined, filters), summary = make("summary", column.label + ": ", box);
    make("span", "all", summary);
    box.dataset.key = column.key;
    var set = make("fieldset", undefined, box), legend = make("legend", column.label, set);
    legend.className = "hidden";
    column.values.forEach(function (value, index) {
      var label = make("label", undefined, set), input = make("input", undefined, label);
      input.type = "checkbox";
      input.value = index;
      label.appendChild(document.createTextNode(" " + value));
      input.addEventListener("change", function () {
        var chosen = state.chosen[column.key] || new Set();
        if (input.checked) { chosen.add(index); } else { chosen.delete(index); }
        if (chosen.size) { state.chosen[column.key] = chosen; } else { delete state.chosen[column.key]; }
        change();
      });
    });
  });
  var reset = make("button", "Reset", filters);
  reset.type = "button";
  reset.id = "reset";
  reset.addEventListener("click", function () { state.sort = null; state.chosen = {}; change(); });
  more.addEventListener("click", function () { state.all = true; render(); });
  window.addEventListener("hashchange", function () { if (restore()) { render(); } });

  var linked = restore();
  filters.hidden = false;
  box.hidden = false;
  render();
  if (linked) { document.getElementById("results").scrollIntoView(); }
}());
