(function () {
'use strict';
/* Plain JavaScript without libraries. Text reaches the page by textContent alone, numbers by the object model. */
const byId = name => document.getElementById(name);
const data = JSON.parse(byId('data').textContent);
const all = data.images, total = all.id.length;
const STEPS = 1000, GAP = 6, CAPTION = 22, OVERSCAN = 2;
const BAR = () => byId('bar').offsetHeight;

/* What is wanted: a finding's number -> 1 asked for, -1 not asked for. What is shown: places in `all`, in order. */
const wanted = new Map();
let shown = [], active = 0, opened = -1;
let columns = 1, tile = 0, line = 0, width = 0;
const drawn = new Map();

function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}
const thousands = number => number.toLocaleString('en');
const decimal = value => value === null ? '–' : (value / STEPS).toFixed(2);
const findingOf = at => data.findings[all.label[at]];

/* ---- pictures: blocks of base64, taken apart when one is first looked at ---- */

const blocks = [...document.querySelectorAll('script.pictures')], lines = [];
function picture(at) {
  const block = Math.floor(at / data.block);
  if (!lines[block]) lines[block] = blocks[block].textContent.split('\n');
  return 'data:image/png;base64,' + lines[block][at % data.block];
}

/* ---- filter and order ---- */

function scores() {
  const named = [['soft', 'soft label'], ['guide', 'guide, of the label'], ['judge', 'judge, of the label'], ['gap', 'guide and judge apart']];
  data.findings.forEach((name, k) => { named.push(['guide:' + k, 'guide, ' + name], ['judge:' + k, 'judge, ' + name]); });
  return named;
}
/* The chosen score as a function of an image: thousandths, or null. */
function scorer(name) {
  const [who, which] = name.split(':');
  if (who === 'soft') return at => all.soft[at];
  const k = at => which === undefined ? all.label[at] : Number(which);
  if (who === 'gap') return at => Math.abs(all.guide[at][k(at)] - all.judge[at][k(at)]);
  return at => all[who][at][k(at)];
}
function bound(name, otherwise) {
  const value = parseFloat(byId(name).value);
  return Number.isFinite(value) ? Math.round(value * STEPS) : otherwise;
}
function fitter() {
  const need = [...wanted].filter(([, sign]) => sign > 0).map(([k]) => k);
  const lack = [...wanted].filter(([, sign]) => sign < 0).map(([k]) => k);
  const any = byId('mode').value === 'any', score = scorer(byId('score').value);
  const least = bound('from', 0), most = bound('to', STEPS), bounded = least > 0 || most < STEPS;
  const split = byId('split').value, build = byId('build').value, text = byId('text').value.trim().toLowerCase();
  return at => {
    const asked = all.asked[at], there = k => asked[k] === '+';
    if (need.length && !(any ? need.some(there) : need.every(there))) return false;
    if (lack.some(there)) return false;
    if (split !== '' && all.split[at] !== Number(split)) return false;
    if (build !== '' && all.build[at] !== Number(build)) return false;
    if (bounded) {
      const value = score(at);
      if (value === null || value < least || value > most) return false;
    }
    return !text || [all.id[at], all.pixels[at], all.latent[at]].some(value => value && value.toLowerCase().includes(text));
  };
}
function filter() {
  const fits = fitter(), order = byId('sort').value, before = shown[active];
  shown = [];
  for (let at = 0; at < total; at++) if (fits(at)) shown.push(at);
  if (order !== 'archive') {
    const score = scorer(byId('score').value), sign = order === 'high' ? -1 : 1;
    shown.sort((a, b) => sign * (score(a) - score(b)) || a - b);
  }
  active = Math.max(0, shown.indexOf(before));
  tell();
  layout();
}
function tell() {
  byId('findings').querySelectorAll('button').forEach((button, k) => {
    const sign = wanted.get(k) || 0, mark = button.querySelector('.mark');
    button.className = sign > 0 ? 'with' : sign < 0 ? 'without' : '';
    mark.className = sign ? 'mark' : 'mark nothing';
    mark.textContent = sign > 0 ? '+' : sign < 0 ? '–' : '';
    button.querySelector('.state').textContent = sign > 0 ? 'wanted' : sign < 0 ? 'not wanted' : 'either way';
  });
  const count = byId('count');
  const score = byId('score').selectedOptions[0].textContent;
  const words = ' of ' + thousands(total) + (total === 1 ? ' image' : ' images');
  count.replaceChildren(make('b', '', thousands(shown.length)), words, make('span', 'hint', ', each with its label and score (' + score + ')'));
  byId('none').hidden = shown.length > 0;
  byId('wall').hidden = !shown.length;
}

/* ---- the wall: only rows near the window are in the page ---- */

function layout() {
  const wall = byId('wall'), size = Number(byId('size').value);
  width = wall.parentNode.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
  tile = Math.floor((width - GAP * (columns - 1)) / columns);
  line = tile + GAP + CAPTION;
  const rows = Math.ceil(shown.length / columns), focused = wall.contains(document.activeElement);
  wall.style.height = rows * line + 'px';
  wall.setAttribute('aria-rowcount', rows);
  wall.setAttribute('aria-colcount', columns);
  drawn.forEach(node => node.remove());
  drawn.clear();
  paint();
  if (focused && shown.length) cellOf(active).focus({ preventScroll: true });
}
function paint() {
  if (!shown.length) return;
  const top = -byId('wall').getBoundingClientRect().top, held = Math.floor(active / columns);
  const first = Math.max(0, Math.floor(top / line) - OVERSCAN);
  const last = Math.min(Math.ceil(shown.length / columns) - 1, Math.floor((top + window.innerHeight) / line) + OVERSCAN);
  const needed = new Set([held]);  /* the row that has the focus stays, wherever the window is */
  for (let row = first; row <= last; row++) needed.add(row);
  drawn.forEach((node, row) => { if (!needed.has(row)) { node.remove(); drawn.delete(row); } });
  needed.forEach(row => { if (!drawn.has(row)) drawn.set(row, drawRow(row)); });
}
function drawRow(row) {
  const node = make('div', 'row');
  node.setAttribute('role', 'row');
  node.setAttribute('aria-rowindex', row + 1);
  node.style.transform = 'translateY(' + row * line + 'px)';
  const score = scorer(byId('score').value);
  for (let place = row * columns; place < Math.min(shown.length, (row + 1) * columns); place++) node.append(drawCell(place, score));
  const after = [...drawn.keys()].filter(other => other > row).sort((a, b) => a - b)[0];
  byId('wall').insertBefore(node, after === undefined ? null : drawn.get(after));
  return node;
}
function drawCell(place, score) {
  const at = shown[place], cell = make('div', 'cell'), image = make('img'), caption = make('div', 'caption');
  cell.setAttribute('role', 'gridcell');
  cell.setAttribute('aria-colindex', place % columns + 1);
  cell.tabIndex = place === active ? 0 : -1;
  cell.dataset.place = place;
  cell.style.width = tile + 'px';
  image.src = picture(at);
  image.alt = all.id[at];
  image.width = image.height = tile;
  image.style.height = tile + 'px';
  caption.append(make('span', 'what', findingOf(at)), make('span', 'much', decimal(score(at))));
  cell.append(image, caption);
  return cell;
}
const cellOf = place => byId('wall').querySelector('[data-place="' + place + '"]');
function activate(place, focus) {
  const before = cellOf(active);
  if (before) before.tabIndex = -1;
  active = Math.max(0, Math.min(shown.length - 1, place));
  if (focus) {
    const wall = byId('wall').getBoundingClientRect(), top = wall.top + Math.floor(active / columns) * line;
    if (top < BAR()) window.scrollBy(0, top - BAR() - GAP);
    else if (top + line > window.innerHeight) window.scrollBy(0, top + line - window.innerHeight + GAP);
  }
  paint();
  const now = cellOf(active);
  if (!now) return;
  now.tabIndex = 0;
  if (focus) now.focus({ preventScroll: true });
}
function step(key) {
  const page = Math.max(1, Math.floor((window.innerHeight - BAR()) / line)) * columns;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page }[key];
  if (by !== undefined) return active + by;
  return { Home: 0, End: shown.length - 1 }[key];
}

/* ---- one image ---- */

function measure(who, value) {
  const cell = make('td', who), box = make('div', 'measure');
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 1000 10');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  for (const [name, length] of [['ground', STEPS], ['length', value || 0]]) {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    bar.setAttribute('class', name);
    bar.setAttribute('width', length);
    bar.setAttribute('height', 10);
    svg.append(bar);
  }
  box.append(make('span', '', decimal(value)), svg);
  cell.append(box);
  return cell;
}
function facts(at) {
  const asked = sign => data.findings.filter((name, k) => all.asked[at][k] === sign).join(', ');
  const build = data.builds[all.build[at]], targets = all.targets[at].join(', ');
  return [
    ['Asked for', asked('+')], ['Absent', asked('-')], ['Label', findingOf(at)], ['Soft label', decimal(all.soft[at])],
    ['Split', data.splits[all.split[at]]],
    ['Build', (all.build[at] + 1) + (build.version ? ', version ' + build.version : '') + ', seed ' + build.seed],
    ['Start', 'draw ' + all.draw[at] + ' of seed ' + all.seed[at]],
    ['Way', all.steps[at] + (all.steps[at] === 1 ? ' step, ' : ' steps, ') + all.travel[at] + '° from the draw'],
    ['Aimed at', targets && 'logit ' + targets],
    ['Nuisances', data.nuisances.map((name, j) => name + ' ' + all.nuisances[at][j]).join(', ')],
    ['Latent', all.latent[at], 'hash'], ['Pixels', all.pixels[at], 'hash'], ['Generator', build.generator, 'hash'],
  ].filter(fact => fact[1]);
}
/* JSON is Python here, but for what JavaScript leaves as it is beyond ASCII. */
const quoted = text => JSON.stringify(text).replace(/[^ -~]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
function show(place) {
  const at = shown[place];
  opened = place;
  byId('one-id').textContent = all.id[at];
  byId('one-picture').src = picture(at);
  byId('one-picture').alt = 'Synthetic chest X-ray asked to show ' + findingOf(at);
  byId('one-caption').textContent = findingOf(at) + ', ' + data.size_px + ' px, ' + thousands(place + 1) + ' of ' + thousands(shown.length);
  byId('previous').disabled = place === 0;
  byId('next').disabled = place === shown.length - 1;
  byId('scores').replaceChildren(...data.findings.map((name, k) => {
    const row = make('tr', { '+': 'asked', '-': 'absent' }[all.asked[at][k]]), head = make('th', '', name);
    head.scope = 'row';
    row.append(head, measure('guide', all.guide[at][k]), measure('judge', all.judge[at][k]));
    return row;
  }));
  byId('facts').replaceChildren(...facts(at).map(([name, value, kind]) => {
    const pair = make('div');
    pair.append(make('dt', '', name), make('dd', kind, value));
    return pair;
  }));
  byId('command').textContent = 'import xrarchive\n\ngenerator = xrarchive.Generator.from_pretrained(' + quoted(data.builds[all.build[at]].weights) +
    ')\npixels = generator.remake(' + quoted(data.name) + ', [' + quoted(all.id[at]) + '])';
  if (!byId('one').open) { byId('one').showModal(); byId('one-id').focus(); }
}
function move(by) {
  const place = opened + by;
  if (place >= 0 && place < shown.length) { activate(place, false); show(place); }
}
/* Back to the wall, to the image that was open. At once: `close` is told later, and keys typed before it would go to where one came from. */
function leave() {
  byId('one').close();
  if (opened >= 0) activate(opened, true);
  opened = -1;
}

/* ---- what people do ---- */

function clear() {
  byId('form').reset();
  wanted.clear();
  filter();
}
function listen() {
  const wall = byId('wall'), one = byId('one');
  const placeOf = event => { const cell = event.target.closest('.cell'); return cell ? Number(cell.dataset.place) : -1; };
  wall.addEventListener('click', event => { const place = placeOf(event); if (place >= 0) { activate(place, true); show(place); } });
  wall.addEventListener('focusin', event => { const place = placeOf(event); if (place >= 0 && place !== active) activate(place, false); });
  wall.addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const place = step(event.key);
    if (place !== undefined) { event.preventDefault(); activate(place, true); }
    else if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); show(active); }
  });
  document.querySelector('.skip').addEventListener('click', event => { event.preventDefault(); activate(active, true); });
  one.addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); move(by); }
  });
  one.addEventListener('cancel', leave);
  one.addEventListener('close', () => { if (!one.open) leave(); });  /* closed by the browser without `cancel` */
  one.addEventListener('click', event => { if (event.target === one) leave(); });
  byId('previous').addEventListener('click', () => move(-1));
  byId('next').addEventListener('click', () => move(1));
  byId('close').addEventListener('click', leave);
  byId('sharp').addEventListener('change', event => byId('one-picture').classList.toggle('sharp', event.target.checked));
  const form = byId('form');
  form.addEventListener('input', filter);
  form.addEventListener('submit', event => event.preventDefault());
  byId('clear').addEventListener('click', clear);
  byId('clear-too').addEventListener('click', () => { clear(); activate(0, true); });
  byId('sort').addEventListener('change', filter);
  byId('size').addEventListener('input', layout);
  /* Cells are drawn anew only for another width: a click ends on the cell on which it began. */
  const look = () => window.requestAnimationFrame(() => { if (width === wall.parentNode.clientWidth) paint(); else layout(); });
  for (const name of ['scroll', 'resize']) window.addEventListener(name, look, { passive: true });
  const observer = new ResizeObserver(look);
  for (const node of [wall.parentNode, document.body]) observer.observe(node);
  document.addEventListener('keydown', keys);
}
function keys(event) {
  const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
  if (event.key === '/' && !typing && !byId('one').open) {
    event.preventDefault();
    byId('filters').open = true;
    byId('text').focus();
  }
  if (/^Arrow(Left|Right)$/.test(event.key) && event.target === document.body && shown.length) {
    event.preventDefault();
    activate(active, true);
  }
  if (event.key === 'Escape' && byId('filters').contains(event.target) && shown.length) { event.preventDefault(); activate(active, true); }
}

/* ---- the page as it opens ---- */

function fill(name, options) {
  byId(name).append(...options.map(([value, text]) => { const option = make('option', '', text); option.value = value; return option; }));
}
function fillFindings() {
  const many = data.findings.map((_, k) => all.asked.filter(row => row[k] === '+').length);
  byId('findings').append(...data.findings.map((name, k) => {
    const item = make('li'), button = make('button');
    button.type = 'button';
    item.hidden = !many[k];
    button.append(make('span', 'mark nothing'), make('span', 'name', name), make('span', 'many', thousands(many[k])), make('span', 'unseen state'));
    button.addEventListener('click', () => {
      const sign = wanted.get(k) || 0;
      if (sign > 0) wanted.set(k, -1); else if (sign < 0) wanted.delete(k); else wanted.set(k, 1);
      filter();
    });
    item.append(button);
    return item;
  }));
}
function about() {
  const parts = [thousands(data.rows) + ' synthetic chest X-rays', data.size_px + ' px', 'version ' + data.version];
  if (data.withdrawn) parts.push(thousands(data.withdrawn) + ' withdrawn');
  let text = parts.join(' · ');
  if (data.where) text += '. Here: the ' + thousands(data.fitting) + ' for which ' + data.where;
  if (data.drawn) text += '. This page holds ' + thousands(total) + ' of ' + (data.where ? 'these' : 'them') + ', drawn evenly over the labels with seed ' + data.seed;
  byId('title').textContent = data.name;
  byId('about').textContent = text + (data.where || data.drawn ? '.' : '');
  byId('colophon').textContent = 'Made by xrarchive browse from the archive with manifest ' + data.manifest + '.';
}

about();
fillFindings();
fill('score', scores());
fill('split', [['', 'all']].concat(data.splits.map((name, i) => [i, name])));
fill('build', [['', 'all']].concat(data.builds.map((build, i) => [i, (i + 1) + (build.version ? ', version ' + build.version : '') + ', seed ' + build.seed])));
byId('split-field').hidden = data.splits.length < 2;
byId('build-field').hidden = data.builds.length < 2;
byId('size').value = window.innerWidth < 600 ? 88 : Math.max(112, Math.min(176, data.size_px));
byId('filters').open = window.matchMedia('(min-width: 62rem)').matches;
byId('sheet').hidden = false;
filter();
listen();
}());
