(function () {
'use strict';
/* Plain ECMAScript 5, so that a browser of 2014 runs it. Text reaches the page by textContent alone. */
var plan = JSON.parse(byId('plan').textContent);
var STORE = 'xrarchive-study-' + plan.study.slice(0, 16) + '-' + plan.reader;
var SESSION = String(Math.random()).slice(2);
var LETTERS = 'qwertyuopasdfghjklzxcvbnm';
var RATINGS = ['certainly real', 'probably real', 'possibly real', 'possibly synthetic', 'probably synthetic', 'certainly synthetic'];
var NONE = 'No finding';
var MAX_ZOOM = 16, STEP = 1.25, PAN = 60;

/* What is kept: answers in the order of the trials, milliseconds spent on the open one, about the reader. */
var state = { session: SESSION, answers: [], spent: 0, role: '', years: '', comment: '' };
var stored = true, dirty = false, screen = 'start', since = 0, films = [], toggles = {}, cache = {};

function byId(id) { return document.getElementById(id); }
function now() { return window.performance && performance.now ? performance.now() : new Date().getTime(); }
function make(tag, text, name) {
  var node = document.createElement(tag);
  if (text !== undefined && text !== null) { node.textContent = text; }
  if (name) { node.className = name; }
  return node;
}
function empty(node) { while (node.firstChild) { node.removeChild(node.firstChild); } }
function on(node, names, act) { names.split(' ').forEach(function (name) { node.addEventListener(name, act, false); }); }
function count(number, word) { return number + ' ' + word + (number === 1 ? '' : 's'); }

/* ---- what is kept between visits ---- */

function keep() {
  dirty = true;
  try {
    window.localStorage.setItem(STORE, JSON.stringify(state));
    stored = true;
  } catch (err) {
    stored = false;
    warn('This browser keeps nothing for this page (storage full or switched off). Your answers are safe only while it stays open: use “Save so far” before you close it, and “Go on from a saved file” to continue.');
  }
}
function recall() {
  try {
    var kept = JSON.parse(window.localStorage.getItem(STORE));
    return kept && isAnswers(kept.answers) ? kept : null;
  } catch (err) { return null; }
}
function forget() { try { window.localStorage.removeItem(STORE); } catch (err) { /* nothing is kept anyway */ } }
function isAnswers(answers) {
  if (!answers || answers.length === undefined || answers.length > plan.trials.length) { return false; }
  for (var i = 0; i < answers.length; i++) { if (!answers[i] || answers[i].trial !== i) { return false; } }
  return true;
}
function warn(text) { byId('warning').textContent = text; byId('warning').hidden = !text; }
function restore(kept) {
  state.answers = kept.answers.slice();
  state.spent = Math.max(0, Math.round(Number(kept.spent) || 0));
  state.role = String(kept.role || '');
  state.years = String(kept.years === undefined || kept.years === null ? '' : kept.years);
  state.comment = String(kept.comment || '');
}

/* ---- the file that is handed back ---- */

function clean(text) { /* lone halves of characters are no text and cannot be summed */
  return String(text).replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g, function (found) { return found.length === 2 ? found : '\uFFFD'; });
}
function result() {
  var years = parseInt(state.years, 10);
  var file = {
    schema: 'xrarchive.study-result/1', study: plan.study, reader: plan.reader,
    complete: state.answers.length === plan.trials.length, trials: plan.trials.length,
    role: state.role, years: isNaN(years) ? null : years, comment: clean(state.comment), answers: state.answers
  };
  file.checksum = sha256(plan.token + '\n' + JSON.stringify(file));
  return JSON.stringify(file, null, 1);
}
function save() {
  var text = result(), name = 'result-' + plan.study.slice(0, 8) + '-' + plan.reader + (state.answers.length < plan.trials.length ? '-part' : '') + '.json';
  byId('text').value = text;
  byId('copy').hidden = false;
  try {
    var blob = new Blob([text], { type: 'application/json' });
    if (window.navigator.msSaveOrOpenBlob) { window.navigator.msSaveOrOpenBlob(blob, name); } else {
      var link = make('a'), url = (window.URL || window.webkitURL).createObjectURL(blob);
      link.href = url; link.download = name; link.style.display = 'none';
      document.body.appendChild(link); link.click(); document.body.removeChild(link);
      setTimeout(function () { (window.URL || window.webkitURL).revokeObjectURL(url); }, 60000);
    }
    dirty = false;
    return name;
  } catch (err) { byId('copy').open = true; return ''; }
}
function load(file) {
  var reader = new FileReader();
  reader.onload = function () {
    var found = null;
    try { found = JSON.parse(reader.result); } catch (err) { /* told below */ }
    if (!found || found.study !== plan.study || found.reader !== plan.reader || !isAnswers(found.answers)) {
      warn('That file holds no answers of ' + plan.reader + ' to this study.'); return;
    }
    var sum = found.checksum; delete found.checksum;
    if (sum !== sha256(plan.token + '\n' + JSON.stringify(found))) { warn('That file was changed since it was saved; it cannot be gone on with.'); return; }
    warn(''); restore(found); state.spent = 0; keep(); welcome();
  };
  reader.readAsText(file, 'utf-8');
}

/* SHA-256 (FIPS 180-4) of a text's UTF-8 bytes, in hex. */
function sha256(text) {
  var bytes = unescape(encodeURIComponent(text)), words = [], hash = [], rounds = [], prime = 2, found = 0, i, j;
  function part(value) { return (value - Math.floor(value)) * 4294967296 | 0; }
  for (; found < 64; prime++) {
    for (i = 2; i * i <= prime && prime % i; i++) { /* until a divisor is found */ }
    if (i * i > prime) { if (found < 8) { hash.push(part(Math.pow(prime, 0.5))); } rounds.push(part(Math.pow(prime, 1 / 3))); found++; }
  }
  var size = ((bytes.length + 8 >> 6) + 1) * 16;
  for (i = 0; i < size; i++) { words[i] = 0; }
  for (i = 0; i < bytes.length; i++) { words[i >> 2] |= bytes.charCodeAt(i) << (24 - i % 4 * 8); }
  words[i >> 2] |= 0x80 << (24 - i % 4 * 8);
  words[size - 2] = Math.floor(bytes.length / 536870912); words[size - 1] = bytes.length << 3;
  function turn(value, by) { return value >>> by | value << 32 - by; }
  for (j = 0; j < size; j += 16) {
    var w = words.slice(j, j + 16), h = hash.slice();
    for (i = 0; i < 64; i++) {
      if (i > 15) {
        var a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >>> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >>> 10) | 0;
      }
      var t1 = h[7] + (turn(h[4], 6) ^ turn(h[4], 11) ^ turn(h[4], 25)) + (h[4] & h[5] ^ ~h[4] & h[6]) + rounds[i] + w[i] | 0;
      var t2 = (turn(h[0], 2) ^ turn(h[0], 13) ^ turn(h[0], 22)) + (h[0] & h[1] ^ h[0] & h[2] ^ h[1] & h[2]) | 0;
      h = [t1 + t2 | 0, h[0], h[1], h[2], h[3] + t1 | 0, h[4], h[5], h[6]];
    }
    for (i = 0; i < 8; i++) { hash[i] = hash[i] + h[i] | 0; }
  }
  return hash.map(function (value) { return ('0000000' + (value >>> 0).toString(16)).slice(-8); }).join('');
}

/* ---- a film on its canvas: zoom, pan, window and level, inversion ---- */

var view = null;
function resetView() { view = { zoom: 1, x: 0, y: 0, centre: 127.5, width: 255, invert: false }; }
function fetchFilm(id, then) {
  if (cache[id]) { if (cache[id].grey) { then(cache[id]); } else { cache[id].waiting.push(then); } return; }
  var film = cache[id] = { waiting: [then], grey: null, width: 0, height: 0, broken: false }, image = new Image();
  function tell() { var all = film.waiting; film.waiting = []; all.forEach(function (each) { each(film); }); }
  image.onload = function () {
    var canvas = make('canvas'), i;
    film.width = canvas.width = image.width; film.height = canvas.height = image.height;
    var draw = canvas.getContext('2d');
    draw.drawImage(image, 0, 0);
    film.data = draw.getImageData(0, 0, image.width, image.height);
    film.grey = new Uint8Array(image.width * image.height);
    for (i = 0; i < film.grey.length; i++) { film.grey[i] = film.data.data[4 * i]; }
    film.canvas = canvas; film.shown = '';
    tell();
  };
  image.onerror = function () { film.broken = true; film.grey = new Uint8Array(0); tell(); };
  image.src = 'data:image/png;base64,' + byId(id).textContent;
}
function develop(film) { /* grey values through window, level and inversion, only if they changed */
  var wanted = [view.centre, view.width, view.invert].join(), table = new Uint8Array(256), i, value;
  if (film.shown === wanted) { return; }
  for (i = 0; i < 256; i++) {
    value = Math.min(255, Math.max(0, (i - view.centre) / view.width * 255 + 127.5));
    table[i] = Math.round(view.invert ? 255 - value : value);
  }
  var data = film.data.data;
  for (i = 0; i < film.grey.length; i++) { data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = table[film.grey[i]]; data[4 * i + 3] = 255; }
  film.canvas.getContext('2d').putImageData(film.data, 0, 0);
  film.shown = wanted;
}
function scaleOf(canvas, film) { return Math.min(canvas.width / film.width, canvas.height / film.height) * view.zoom; }
function paint() {
  films.forEach(function (each) {
    var canvas = each.canvas, film = each.film, ratio = Math.min(3, window.devicePixelRatio || 1);
    var wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    var draw = canvas.getContext('2d');
    draw.setTransform(1, 0, 0, 1, 0, 0);
    draw.fillStyle = '#000'; draw.fillRect(0, 0, wide, high);
    if (!film || film.broken || !film.width) { return; }
    develop(film);
    var scale = scaleOf(canvas, film);
    draw.imageSmoothingEnabled = true; draw.imageSmoothingQuality = 'high';
    draw.drawImage(film.canvas, wide / 2 + view.x * ratio - film.width * scale / 2, high / 2 + view.y * ratio - film.height * scale / 2, film.width * scale, film.height * scale);
  });
  byId('view').textContent = 'Zoom ' + Math.round(view.zoom * 100) + ' %' + (view.invert ? ', inverted' : '');
}
function zoomTo(zoom, x, y) { /* x, y: the point that stays, from the middle */
  zoom = Math.min(MAX_ZOOM, Math.max(1, zoom));
  var by = zoom / view.zoom;
  view.x = (x || 0) - ((x || 0) - view.x) * by; view.y = (y || 0) - ((y || 0) - view.y) * by; view.zoom = zoom;
  moveBy(0, 0);
}
function moveBy(x, y) {
  var canvas = films[0] && films[0].canvas;
  var reach = canvas ? Math.min(canvas.clientWidth, canvas.clientHeight) * view.zoom / 2 : 0;
  view.x = Math.min(reach, Math.max(-reach, view.x + x)); view.y = Math.min(reach, Math.max(-reach, view.y + y));
  paint();
}
function windowBy(width, centre) {
  view.width = Math.min(510, Math.max(8, view.width * width)); view.centre = Math.min(255, Math.max(0, view.centre + centre));
  paint();
}
var views = {
  'in': function () { zoomTo(view.zoom * STEP); }, 'out': function () { zoomTo(view.zoom / STEP); },
  'contrast+': function () { windowBy(1 / 1.15, 0); }, 'contrast-': function () { windowBy(1.15, 0); },
  'bright+': function () { windowBy(1, -8); }, 'bright-': function () { windowBy(1, 8); },
  'invert': function () { view.invert = !view.invert; paint(); tellInvert(); },
  'reset': function () { resetView(); paint(); tellInvert(); }
};
function tellInvert() { document.querySelector('[data-view=invert]').setAttribute('aria-pressed', String(view.invert)); }
function handle(canvas) { /* mouse and touch */
  var last = null, apart = 0;
  function middle(event) { var box = canvas.getBoundingClientRect(); return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 }; }
  on(canvas, 'wheel mousewheel', function (event) {
    event.preventDefault(); var at = middle(event);
    zoomTo(view.zoom * ((event.deltaY || -event.wheelDelta) < 0 ? STEP : 1 / STEP), at.x, at.y);
  });
  on(canvas, 'contextmenu', function (event) { event.preventDefault(); });
  on(canvas, 'dblclick', function () { views.reset(); });
  on(canvas, 'mousedown', function (event) {
    var level = event.button === 2 || event.shiftKey, x = event.clientX, y = event.clientY;
    function move(next) {
      if (level) { windowBy(1 + (x - next.clientX) / 300, (next.clientY - y) / 2); } else { moveBy(next.clientX - x, next.clientY - y); }
      x = next.clientX; y = next.clientY;
    }
    function up() { document.removeEventListener('mousemove', move, false); document.removeEventListener('mouseup', up, false); }
    on(document, 'mousemove', move); on(document, 'mouseup', up);
  });
  function spread(touches) { var x = touches[0].clientX - touches[1].clientX, y = touches[0].clientY - touches[1].clientY; return Math.sqrt(x * x + y * y) || 1; }
  on(canvas, 'touchstart', function (event) { last = event.touches[0]; apart = event.touches.length > 1 ? spread(event.touches) : 0; });
  on(canvas, 'touchmove', function (event) {
    event.preventDefault();
    if (event.touches.length > 1 && apart) { var wide = spread(event.touches); zoomTo(view.zoom * wide / apart); apart = wide; }
    else if (event.touches.length === 1 && last) { moveBy(event.touches[0].clientX - last.clientX, event.touches[0].clientY - last.clientY); }
    last = event.touches[0];
  });
  on(canvas, 'touchend touchcancel', function () { last = null; apart = 0; });
}

/* ---- questions ---- */

function choice(kind, name, value, text, key) {
  var label = make('label'), input = make('input');
  input.type = kind; input.name = name; input.value = value; input.id = name + '-' + value;
  label.appendChild(input); label.appendChild(make('span', text));
  if (key) { label.appendChild(make('kbd', key.toUpperCase())); input.setAttribute('aria-keyshortcuts', key); }
  return { label: label, input: input };
}
function press(input) { input.checked = input.type === 'radio' ? true : !input.checked; changed(input); }
function changed(input) {
  var value = input.value, none = byId('finding-' + NONE);
  if (input.name === 'finding' && input.checked) {
    inputs('finding').forEach(function (each) { if ((value === NONE) !== (each.value === NONE)) { each.checked = false; } });
  }
  if (none && !inputs('finding').some(function (each) { return each.checked; })) { none.checked = false; }
  mark();
}
function inputs(name) { return Array.prototype.filter.call(byId('panel').querySelectorAll('input'), function (each) { return each.name === name; }); }
function mark() { /* the look of what is chosen, and what is still open */
  Array.prototype.forEach.call(byId('panel').querySelectorAll('.choices input,.rows input'), function (each) {
    each.parentNode.className = each.checked ? 'on' : '';
  });
  var open = lacking();
  byId('next').setAttribute('aria-disabled', String(open !== ''));
  byId('lacking').textContent = open;
}
function chosen(name) { return inputs(name).filter(function (each) { return each.checked; }).map(function (each) { return each.value; }); }
function lacking() {
  if (asksRating() && !chosen('rating').length) { return plan.layout === 'pairs' ? 'Still open: which one is synthetic?' : 'Still open: real or synthetic?'; }
  if (asksFindings() && plan.task !== 'review' && !chosen('finding').length) { return 'Still open: findings, or “' + NONE + '”.'; }
  var items = plan.task === 'review' ? plan.items : [], i;
  for (i = 0; i < items.length; i++) { if (!chosen('item' + i).length) { return 'Still open: ' + items[i] + '.'; } }
  return '';
}
function asksRating() { return plan.task === 'realism' || plan.task === 'both'; }
function asksFindings() { return plan.task !== 'realism'; }
function buildPanel() {
  var letters = LETTERS.split(''), box, i;
  if (asksRating()) {
    box = byId('rating'); box.hidden = false;
    var pairs = plan.layout === 'pairs', words = pairs ? ['left film', 'right film'] : RATINGS;
    box.querySelector('legend').textContent = pairs ? 'Which one is synthetic?' : 'Real or synthetic?';
    if (pairs) { box.className = 'pairwise'; }
    words.forEach(function (word, index) {
      var made = choice('radio', 'rating', String(index + 1), word, String(index + 1));
      toggles[String(index + 1)] = made.input; box.querySelector('.choices').appendChild(made.label);
    });
  }
  if (plan.task === 'review') {
    box = byId('items'); box.hidden = false;
    plan.items.forEach(function (item, index) {
      var row = make('fieldset', null, 'row'), key = letters.shift(), name = make('legend', item + ' ');
      name.appendChild(make('kbd', key.toUpperCase())); row.appendChild(name);
      var made = plan.answers.map(function (answer) { return choice('radio', 'item' + index, answer, answer, ''); });
      var line = make('div', null, 'answers');
      made.forEach(function (each) { line.appendChild(each.label); });
      row.appendChild(line);
      toggles[key] = made.map(function (each) { return each.input; });
      box.querySelector('.rows').appendChild(row);
    });
  }
  if (asksFindings()) {
    box = byId('findings'); box.hidden = false;
    box.querySelector('legend').textContent = plan.task === 'review' ? 'Which findings are there?' : 'Which findings do you see?';
    var names = plan.task === 'review' ? plan.findings : [NONE].concat(plan.findings);
    for (i = 0; i < names.length; i++) {
      var made = choice('checkbox', 'finding', names[i], names[i].replace(/_/g, ' '), letters.length ? letters.shift() : '');
      var shortcut = made.input.getAttribute('aria-keyshortcuts');
      if (shortcut) { toggles[shortcut] = made.input; }
      box.querySelector('.choices').appendChild(made.label);
    }
  }
  on(byId('panel'), 'change', function (event) { if (event.target.name) { changed(event.target); } });
  on(byId('panel'), 'submit', function (event) { event.preventDefault(); answer(); });
}

/* ---- the course of the study ---- */

function show(name) {
  ['start', 'reading', 'rest', 'end'].forEach(function (each) { byId(each).hidden = each !== name; });
  screen = name;
  document.body.className = name === 'reading' ? 'busy' : '';
  byId('copy').hidden = byId('copy').hidden || name === 'reading';
  var title = byId(name).querySelector('h1');
  if (title) { title.focus(); }
  if (name !== 'reading') { window.scrollTo(0, 0); }
}
function scored(limit) { return plan.trials.slice(0, limit).filter(function (trial) { return !trial.practice; }).length; }
function welcome() {
  var total = plan.trials.length, practice = total - scored(total), done = state.answers.length, points = byId('start-points');
  byId('start-title').textContent = plan.title;
  byId('start-who').textContent = 'Pages of ' + plan.reader + '. ' + count(practice, 'practice case') + ', then ' + count(scored(total), 'case') + '.';
  byId('start-technical').hidden = !plan.technical;
  byId('start-task').textContent = plan.layout === 'pairs'
    ? 'Each case is two films, one of a real person and one made by a computer. Say which one is synthetic.'
    : asksRating() ? 'Each case is one film: of a real person, or made by a computer. About half are real. Say how sure you are.' + (asksFindings() ? ' Then tick the findings you see.' : '')
    : plan.task === 'review' ? 'Films come in blocks of one finding each; you are told which. About half are real, half made by a computer; you are not told which. Say what is on each, and whether it looks as it should.'
    : 'Tick the findings you see on each film, or “' + NONE + '”.';
  empty(points);
  ['The first cases are for practice and do not count.', 'Answers are final once you go on. Take the time you take on a working day.', 'You may pause at any time: what you answered is kept in this browser.', 'Some films come twice. Please do not discuss films with other readers before all are done.'].forEach(function (text) { points.appendChild(make('li', text)); });
  byId('start-kept').hidden = !done;
  byId('start-kept').textContent = done ? count(done, 'answer') + ' of ' + total + ' kept from before.' : '';
  byId('begin').textContent = done ? 'Go on' : 'Begin';
  byId('again').hidden = !done;
  byId('role').value = state.role; byId('years').value = state.years;
  show('start');
}
function buildKeys() {
  var rows = [['Enter', 'next case'], ['Esc', 'pause'], ['+ −', 'zoom'], ['← ↑ → ↓', 'move the film'], ['Page Up, Page Down', 'contrast (window)'], ['Home, End', 'brightness (level)'], ['I', 'invert'], ['0', 'view as at first']];
  if (asksRating()) { rows.unshift(plan.layout === 'pairs' ? ['1 2', 'left, right'] : ['1 … 6', 'certainly real … certainly synthetic']); }
  if (asksFindings()) { rows.splice(1, 0, ['letters', 'as shown beside each answer']); }
  rows.push(['mouse', 'wheel: zoom; drag: move; right button or Shift: window and level']);
  rows.forEach(function (row) {
    var line = make('tr'), cell = make('td');
    cell.appendChild(make('kbd', row[0])); line.appendChild(cell); line.appendChild(make('td', row[1]));
    byId('start-keys').appendChild(line);
  });
}
function present() {
  var number = state.answers.length, trial = plan.trials[number];
  if (!trial) { finish(); return; }
  var first = scored(number), total = scored(plan.trials.length), practice = plan.trials.length - total;
  byId('where').textContent = trial.practice ? 'Practice ' + (number + 1) + ' of ' + practice : 'Case ' + (first + 1) + ' of ' + total;
  byId('track').setAttribute('aria-valuemax', String(plan.trials.length)); byId('track').setAttribute('aria-valuenow', String(number));
  byId('done').style.width = 100 * number / plan.trials.length + '%';
  byId('panel').reset(); byId('note').value = '';
  byId('review-of').hidden = !trial.finding;
  byId('review-of').textContent = trial.finding ? 'Here for: ' + trial.finding.replace(/_/g, ' ') : '';
  mark(); resetView(); tellInvert();
  show('reading');
  byId('panel').scrollTop = 0;
  hang(trial, number);
  var before = trial.images, next = plan.trials[number + 1];
  Object.keys(cache).forEach(function (id) { if (before.indexOf(id) < 0) { delete cache[id]; } });
  if (next) { setTimeout(function () { next.images.forEach(function (id) { fetchFilm(id, function () { /* ready */ }); }); }, 200); }
}
function hang(trial, number) {
  empty(byId('films'));
  since = 0;
  films = trial.images.map(function (id, index) {
    var figure = make('figure', null, 'film'), canvas = make('canvas');
    canvas.tabIndex = 0; canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', trial.images.length > 1 ? (index ? 'Right film' : 'Left film') : 'Chest radiograph');
    if (trial.images.length > 1) { figure.appendChild(make('figcaption', index ? 'Right' : 'Left')); }
    figure.appendChild(canvas); byId('films').appendChild(figure); handle(canvas);
    return { id: id, canvas: canvas, figure: figure, film: null };
  });
  films.of = number;
  paint();
  films.slice().forEach(function (each) {
    fetchFilm(each.id, function (film) {
      if (films.indexOf(each) < 0) { return; }
      each.film = film;
      if (film.broken) { each.figure.appendChild(make('p', 'This film cannot be shown. Please tell whoever gave you the study.', 'broken')); }
      if (!allThere()) { return; }
      if (screen === 'reading' && !document.hidden) { since = now(); }
      paint();
      byId('films').setAttribute('data-number', String(number));
    });
  });
}
function spend() { if (since) { state.spent += now() - since; since = 0; } }
function answer() {
  var trial = plan.trials[state.answers.length], found = { trial: state.answers.length };
  if (lacking()) { mark(); return; }
  if (!allThere()) { return; }
  spend();
  if (plan.layout === 'pairs') { found.synthetic = trial.images[Number(chosen('rating')[0]) - 1]; }
  else if (asksRating()) { found.rating = Number(chosen('rating')[0]); }
  if (asksFindings()) { found.findings = chosen('finding').filter(function (name) { return name !== NONE; }); }
  if (plan.task === 'review') { found.items = plan.items.map(function (item, index) { return chosen('item' + index)[0]; }); }
  found.ms = Math.round(state.spent);
  found.note = clean(byId('note').value);
  state.answers.push(found); state.spent = 0;
  keep();
  var next = plan.trials[state.answers.length];
  if (next && next.block !== trial.block) { offerRest(trial, next); } else { present(); }
}
function offerRest(before, next) {
  byId('rest-title').textContent = before.practice ? 'Practice is over' : 'Time for a break';
  byId('rest-text').textContent = (before.practice ? 'From now on answers count. ' : 'A block is done. ') + (next.finding ? 'The next films are of one finding: ' + next.finding.replace(/_/g, ' ') + '.' : '');
  show('rest'); byId('go').focus();
}
function pause() {
  if (screen !== 'reading') { return; }
  spend(); keep();
  byId('rest-title').textContent = 'Paused';
  byId('rest-text').textContent = 'The clock stands still. ' + (stored ? 'You may also close this page and go on another day, in this browser.' : 'Do not close this page without saving to a file.');
  show('rest'); byId('go').focus();
}
function goOn() { /* to the paused case with what was chosen on it, or to the next */
  if (films.of !== state.answers.length) { present(); return; }
  show('reading'); paint();
  if (allThere()) { since = now(); }
}
function allThere() { return films.length > 0 && films.every(function (each) { return each.film; }); }
function finish() { byId('comment').value = state.comment; show('end'); }

function start() {
  state.role = byId('role').value; state.years = byId('years').value;
  keep(); present();
}
function typing(target) { return target && (target.tagName === 'TEXTAREA' || target.tagName === 'SELECT' || (target.tagName === 'INPUT' && /number|text/.test(target.type))); }
var NAMES = { 13: 'Enter', 27: 'Escape', 33: 'PageUp', 34: 'PageDown', 35: 'End', 36: 'Home', 37: 'ArrowLeft', 38: 'ArrowUp', 39: 'ArrowRight', 40: 'ArrowDown', 107: '+', 109: '-', 187: '+', 189: '-' };
function keyOf(event) {
  var key = event.key || NAMES[event.keyCode] || String.fromCharCode(event.keyCode || 0);
  key = { Esc: 'Escape', Left: 'ArrowLeft', Right: 'ArrowRight', Up: 'ArrowUp', Down: 'ArrowDown', Add: '+', Subtract: '-', '=': '+', '\u2212': '-', _: '-' }[key] || key;
  return key.length === 1 ? key.toLowerCase() : key;
}
var moves = {
  ArrowLeft: function () { moveBy(PAN, 0); }, ArrowRight: function () { moveBy(-PAN, 0); }, ArrowUp: function () { moveBy(0, PAN); }, ArrowDown: function () { moveBy(0, -PAN); },
  '+': views['in'], '-': views.out, '0': views.reset, i: views.invert, PageUp: views['contrast+'], PageDown: views['contrast-'], Home: views['bright+'], End: views['bright-']
};
function cycle(group) {
  var at = -1;
  group.forEach(function (input, index) { if (input.checked) { at = index; } });
  press(group[(at + 1) % group.length]);
}
on(document, 'keydown', function (event) {
  if (screen !== 'reading' || event.ctrlKey || event.altKey || event.metaKey) { return; }
  var key = keyOf(event), target = event.target;
  if (key === 'Escape') { event.preventDefault(); pause(); return; }
  if (typing(target)) { return; }
  if (key === 'Enter') { if (target.tagName !== 'BUTTON' && target.tagName !== 'SUMMARY') { event.preventDefault(); if (!event.repeat) { answer(); } } return; }
  if (target.type === 'radio' && /^Arrow/.test(key)) { return; }
  if (key.length === 1 && !byId('keys').checked) { return; }
  if (moves.hasOwnProperty(key)) { event.preventDefault(); moves[key](); return; }
  if (toggles.hasOwnProperty(key) && !event.repeat) { event.preventDefault(); if (toggles[key].length) { cycle(toggles[key]); } else { press(toggles[key]); } }
});
on(byId('begin'), 'click', start);
on(byId('again'), 'click', function () {
  if (window.confirm('Throw away ' + count(state.answers.length, 'answer') + ' and start over?')) { forget(); restore({ answers: [] }); welcome(); }
});
on(byId('load'), 'change', function () { if (byId('load').files && byId('load').files[0]) { load(byId('load').files[0]); byId('load').value = ''; } });
on(byId('pause'), 'click', pause);
on(byId('part'), 'click', function () { spend(); if (screen === 'reading') { since = now(); } save(); });
on(byId('go'), 'click', goOn);
on(byId('comment'), 'change', function () { state.comment = byId('comment').value; keep(); });
on(byId('save'), 'click', function () {
  state.comment = byId('comment').value; keep();
  var name = save();
  byId('saved').textContent = name ? 'Saved as ' + name + ', where this browser puts downloads.' : 'This browser saves no files: copy the text below.';
});
Array.prototype.forEach.call(document.querySelectorAll('[data-view]'), function (button) {
  on(button, 'click', function (event) {
    views[button.getAttribute('data-view')]();
    if (event.detail) { button.blur(); } /* so that Enter goes on after a click */
  });
});
on(window, 'resize orientationchange', function () { if (screen === 'reading') { paint(); } });
on(document, 'visibilitychange', function () {
  if (screen !== 'reading') { return; }
  if (document.hidden) { spend(); keep(); } else if (allThere()) { since = now(); }
});
on(window, 'pagehide', function () { if (screen === 'reading') { spend(); keep(); } });
on(window, 'beforeunload', function (event) {
  if (dirty && !stored && state.answers.length) { event.preventDefault(); event.returnValue = ''; return ''; }
  return undefined;
});
on(window, 'storage', function (event) { /* another window of this study answered */
  if (event.key !== STORE || !event.newValue) { return; }
  try { if (JSON.parse(event.newValue).session === SESSION) { return; } } catch (err) { return; }
  spend(); byId('elsewhere').hidden = false; byId('here').focus();
});
on(byId('here'), 'click', function () {
  byId('elsewhere').hidden = true;
  var kept = recall();
  if (kept) { restore(kept); }
  welcome();
});

buildPanel(); buildKeys(); resetView();
(function () {
  var kept = recall();
  if (kept) { restore(kept); }
  try { window.localStorage.setItem(STORE + '-probe', '1'); window.localStorage.removeItem(STORE + '-probe'); } catch (err) {
    stored = false; warn('This browser keeps nothing for this page. Your answers are safe only while it stays open: use “Save so far” before you close it.');
  }
  byId('loading').hidden = true; byId('app').hidden = false;
  welcome();
}());
}());
