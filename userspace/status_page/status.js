// The status page: asks the daemon's API every two seconds and shows what it says. Lists
// come by the page, so that ten thousand members cost no more than fifty.

const interval = 2000;
const patience = 10000;
const rows_of_page = 50;
const kept_samples = 60;
const most_found = 20;

const find = id => document.getElementById(id);

// An element with its attributes and children; text is never read as HTML.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.map(child => child ?? ''));
  return made;
}

async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== ''));
  const answer = await fetch(`${path}?${query}`, {signal: AbortSignal.timeout(patience)});
  const text = await answer.text();
  if (!answer.ok) {
    let message = `${answer.status} ${answer.statusText}`;
    try { message = JSON.parse(text).errors[0].message; } catch { /* no answer of the API's */ }
    throw new Error(message);
  }
  return answer.headers.get('content-type').includes('ndjson') ? text : JSON.parse(text);
}

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', {notation: 'compact', maximumFractionDigits: 1});
const count = value => value < 100000 ? whole.format(Math.round(value)) : short.format(value);
const rate = value => value > 0 && value < 10 ? value.toFixed(1) : count(value);

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

function moment(unix) {
  const date = new Date(unix * 1000);
  const recent = Date.now() - date < 12 * 3600e3;
  return element('time', {datetime: date.toISOString(), title: date.toISOString()},
                 recent ? date.toLocaleTimeString() : date.toLocaleString());
}

// What was seen of each object's rate since the page was opened: a small chart.
class Charts {
  samples = new Map();

  add(name, value) {
    const values = this.samples.get(name) ?? [];
    values.push(value);
    if (values.length > kept_samples) values.shift();
    this.samples.delete(name); // the longest unseen ones stand first
    this.samples.set(name, values);
    if (this.samples.size > 1000) this.samples.delete(this.samples.keys().next().value);
  }

  draw(svg, name) {
    const values = this.samples.get(name) ?? [];
    const most = Math.max(...values, 1e-9);
    const points = values.map((value, index) =>
      `${((kept_samples - values.length + index) * 96 / (kept_samples - 1)).toFixed(1)} ${(23 - 22 * value / most).toFixed(1)}`);
    svg.firstChild.setAttribute('d', points.length > 1 ? `M${points.join('L')}` : '');
    svg.setAttribute('aria-label', `the last ${values.length * interval / 1000} seconds, at most ${rate(Math.max(...values, 0))}`);
  }

  static make() {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('class', 'chart');
    svg.setAttribute('role', 'img');
    svg.setAttribute('viewBox', '0 0 96 24');
    svg.append(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
    return svg;
  }
}

// A table whose rows stay what they are while their cells change: focus and selection are kept.
class Table {
  rows = new Map();

  // `columns`: {label, class, make(): content of a new cell, fill(cell, item)}
  constructor(body, columns) {
    this.body = body;
    this.columns = columns;
  }

  show(items, name = item => item.name) {
    const wanted = new Set(items.map(name));
    for (const [key, row] of this.rows) {
      if (!wanted.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    let next = this.body.firstChild;
    for (const item of items) {
      const key = name(item);
      let row = this.rows.get(key);
      if (!row) {
        row = element('tr', {role: 'row'}, ...this.columns.map(column => {
          const cell = element('td', {class: column.class ?? '', role: 'cell', 'data-label': column.label});
          if (column.make) cell.append(...column.make(item));
          return cell;
        }));
        this.rows.set(key, row);
      }
      if (row === next) next = next.nextSibling;
      else this.body.insertBefore(row, next);
      this.columns.forEach((column, index) => column.fill(row.children[index], item));
    }
  }
}

const text_of = value => (cell, item) => {
  const text = String(value(item));
  if (cell.textContent !== text) cell.textContent = text;
};

const text_before_chart = (charts, value, key) => (cell, item) => {
  cell.firstChild.textContent = value(item);
  charts.draw(cell.lastChild, key(item));
};

const chart_cell = () => [element('span'), Charts.make()];

// What of a long list is seen, and the buttons for the rest of it.
class Pages {
  offset = 0;

  constructor(place, changed) {
    this.label = element('span');
    this.back = element('button', {type: 'button', onclick: () => this.turn(-1)}, 'Previous');
    this.on = element('button', {type: 'button', onclick: () => this.turn(1)}, 'Next');
    this.changed = changed;
    this.matched = 0;
    place.append(this.label, this.back, this.on);
  }

  turn(by) {
    this.offset = Math.max(0, this.offset + by * rows_of_page);
    this.changed();
  }

  show(matched) {
    this.matched = matched;
    if (this.offset && this.offset >= matched) {
      this.offset = Math.max(0, Math.floor((matched - 1) / rows_of_page)) * rows_of_page;
      this.changed();
    }
    const last = Math.min(matched, this.offset + rows_of_page);
    const label = matched ? `${whole.format(this.offset + 1)}–${whole.format(last)} of ${whole.format(matched)}` : 'none';
    if (this.label.textContent !== label) this.label.textContent = label;
    this.back.disabled = this.offset === 0;
    this.on.disabled = last >= matched;
    this.back.hidden = this.on.hidden = matched <= rows_of_page;
  }
}

function later(call, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

function history_of(checks) {
  return checks.map(check => element('span', {
    class: 'history', role: 'img', title: check.name,
    'aria-label': `${check.name}: ${[...check.history].filter(one => one === '+').length} of ${check.history.length} passed`,
  }, ...[...check.history].map(one => element('i', {class: one === '+' ? 'passed' : 'failed'}))));
}

const latency_text = value => value === null || value === undefined ? '' : `${value.toFixed(value < 10 ? 2 : 0)} ms`;
const latency = member => latency_text((member.health?.checks ?? []).map(check => check.latency_ms).find(value => value !== null));

const charts = new Charts();

const servers = {
  table: new Table(find('servers'), [
    {label: 'Name', fill: text_of(one => one.name)},
    {label: 'Address', fill: text_of(one => `${one.address.includes(':') ? `[${one.address}]` : one.address}:${one.port}/${one.protocol}`)},
    {label: 'Pool', fill: text_of(one => one.pool)},
    {label: 'Persistence', fill: text_of(one => one.persistence || 'none')},
    {label: 'Connections', class: 'number', fill: text_of(one => count(one.connections))},
    {label: 'Connections / s', class: 'number', make: chart_cell,
     fill: text_before_chart(charts, one => rate(one.rates.connections), one => `server ${one.name}`)},
    {label: 'Bits / s', class: 'number', make: chart_cell,
     fill: text_before_chart(charts, one => short.format(8 * (one.rates.forward_bytes + one.rates.reply_bytes)), one => `bits ${one.name}`)},
  ]),
  pages: new Pages(find('servers-pages'), () => refresh()),
  async refresh() {
    const answer = await ask('v1/virtual-servers', {search: find('servers-search').value.trim(), offset: this.pages.offset, limit: rows_of_page});
    for (const one of answer.virtual_servers) {
      charts.add(`server ${one.name}`, one.rates.connections);
      charts.add(`bits ${one.name}`, 8 * (one.rates.forward_bytes + one.rates.reply_bytes));
    }
    this.table.show(answer.virtual_servers);
    this.pages.show(answer.matched);
  },
};

const members = {
  state: '',
  table: new Table(find('members'), [
    {label: 'Member', make: one => [element('button', {type: 'button', class: 'name', onclick: () => show_member(one.name)}, one.name)], fill() {}},
    {label: 'Address', fill: text_of(one => one.port ? `${one.address.includes(':') ? `[${one.address}]` : one.address}:${one.port}` : one.address)},
    {label: 'State', make: () => [element('span')], fill(cell, one) {
      cell.firstChild.className = `state ${one.state}`;
      cell.firstChild.textContent = one.state + (one.overridden ? ' (by command)' : '');
    }},
    {label: 'Checks', fill(cell, one) {
      const checks = one.health?.checks ?? [];
      const seen = checks.map(check => `${check.name} ${check.history}`).join() + (one.next_hop === 'resolved' ? '' : ' ?');
      if (cell.dataset.seen === seen) return;
      cell.dataset.seen = seen;
      cell.replaceChildren(...(checks.length ? history_of(checks) : [element('span', {class: 'quiet'}, 'unchecked')]));
      if (one.next_hop !== 'resolved') cell.append(element('span', {class: 'problem'}, ' no neighbour answers'));
    }},
    {label: 'Latency', class: 'number', fill: text_of(latency)},
    {label: 'Connections now', class: 'number', fill: text_of(one => count(one.places))},
    {label: 'Sessions made', class: 'number', fill: text_of(one => count(one.sessions_recorded))},
    {label: 'Connections / s', class: 'number', make: chart_cell,
     fill: text_before_chart(charts, one => rate(one.rates.connections), one => `member ${one.name}`)},
  ]),
  pages: new Pages(find('members-pages'), () => refresh()),
  buttons: new Map(['', 'up', 'down', 'draining', 'disabled'].map(state => [state, element('button', {
    type: 'button', 'aria-pressed': String(state === ''), onclick: () => members.choose(state)}, state || 'all')])),
  choose(state) {
    this.state = state;
    this.pages.offset = 0;
    for (const [name, button] of this.buttons) button.setAttribute('aria-pressed', String(name === state));
    refresh();
  },
  async refresh() {
    const answer = await ask('v1/members', {search: find('members-search').value.trim(), state: this.state, offset: this.pages.offset, limit: rows_of_page});
    for (const one of answer.members) charts.add(`member ${one.name}`, one.rates.connections);
    this.table.show(answer.members);
    this.pages.show(answer.matched);
    for (const [name, button] of this.buttons) {
      const number = name ? answer.states[name] : Object.values(answer.states).reduce((sum, one) => sum + one, 0);
      button.textContent = `${name || 'all'} ${whole.format(number)}`;
    }
  },
};
find('members-states').append(...members.buttons.values());

const reasons = {
  seen: [], // of the last minute: [{at, packets of each}]
  table: new Table(find('reasons'), [
    {label: 'Reason', fill: text_of(one => one.reason)},
    {label: 'Kind', fill: text_of(one => one.kind)},
    {label: 'Packets', class: 'number', fill: text_of(one => count(one.packets))},
    {label: 'In the last minute', class: 'number', fill: text_of(one => count(one.lately))},
    {label: 'Meaning', fill: text_of(one => one.meaning)},
  ]),
  async refresh() {
    const answer = await ask('v1/counters');
    const now = Date.now();
    const packets = Object.fromEntries(answer.counters.map(one => [one.reason, one.packets]));
    this.seen = this.seen.filter(one => now - one.at <= 60000);
    const counted = answer.counters.filter(one => one.packets > 0)
      .map(one => ({...one, lately: one.packets - (this.seen[0]?.packets[one.reason] ?? one.packets)}));
    this.seen.push({at: now, packets});
    const order = {drop: 0, reject: 1, fallback: 2};
    counted.sort((a, b) => order[a.kind] - order[b.kind] || b.packets - a.packets);
    this.table.show(counted, one => one.reason);
    find('reasons-none').hidden = counted.length > 0;
    find('reasons-table').hidden = counted.length === 0;
  },
};

const events = {
  shown: '',
  async refresh() {
    const lines = (await ask('v1/events')).trimEnd();
    if (lines === this.shown) return;
    this.shown = lines;
    find('events').replaceChildren(...lines.split('\n').filter(line => line).slice(-100).reverse().map(line => {
      const {at, event, ...rest} = JSON.parse(line);
      return element('li', {}, moment(at), element('strong', {}, event),
                     element('span', {}, Object.entries(rest).map(([key, value]) => `${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ')));
    }));
  },
};

function tile(name, value, note) {
  return element('div', {}, element('dt', {}, name), element('dd', {}, value, ' ', element('small', {}, note)));
}

const overview = {
  async refresh() {
    const all = await ask('v1/overview');
    const share = table => `of ${count(table.limit)} (${(100 * table.live / table.limit).toFixed(1)} %)`;
    const total = Object.values(all.members).reduce((sum, one) => sum + one, 0);
    find('daemon').textContent = `holdfastd ${all.daemon.version}` +
      all.interfaces.map(one => ` · ${one.name} ${one.mode}`).join('');
    document.title = all.members.down ? `(${all.members.down} down) Holdfast` : 'Holdfast';
    find('overview').replaceChildren(
      tile('Virtual servers', count(all.virtual_servers), ''),
      tile('Members up', count(all.members.up), `of ${count(total)}`),
      tile('Members down', count(all.members.down), all.members.draining + all.members.disabled ? `${all.members.draining} draining, ${all.members.disabled} disabled` : ''),
      tile('Sessions', count(all.sessions.live), share(all.sessions)),
      tile('Connections', count(all.connections.live), share(all.connections)));
    if (all.daemon.config_differs) complain('The configuration file says something else than what is applied: "holdfast apply" or SIGHUP makes it live.');
  },
};

function fact(name, value) {
  return element('tr', {}, element('th', {scope: 'row'}, name), element('td', {'data-label': name}, value));
}

// Of several questions the last one's answer is shown.
const asked = {member: 0, client: 0};

async function show_member(name) {
  const body = find('detail-body');
  find('detail-title').textContent = name;
  body.replaceChildren(element('p', {class: 'quiet'}, 'Asking…'));
  if (!find('detail').open) find('detail').showModal();
  try {
    const number = ++asked.member;
    const one = await ask(`v1/members/${name.split('/').map(encodeURIComponent).join('/')}`);
    if (number !== asked.member) return;
    const facts = element('tbody', {}, fact('State', one.state), fact('Weight', one.weight),
                          fact('Connections now', count(one.places) + (one.connection_limit ? ` of ${count(one.connection_limit)}` : '')),
                          fact('Connections ever', count(one.connections)), fact('Sessions made', count(one.sessions_recorded)),
                          fact('Next hop', one.next_hop));
    if (one.health?.since) facts.append(fact('Since', moment(one.health.since)));
    body.replaceChildren(element('table', {}, facts));
    for (const check of one.health?.checks ?? []) {
      body.append(element('h3', {}, `Check ${check.name}`),
                  element('p', {}, ...history_of([check]), ` ${count(check.passed)} passed, ${count(check.failed)} failed${check.damped ? ', damped: it has flapped' : ''}`));
      if (check.last_problem) body.append(element('p', {class: 'problem'}, `Last problem: ${check.last_problem}`));
      body.append(element('table', {}, element('tbody', {}, ...check.results.slice().reverse().map(result =>
        element('tr', {}, element('td', {'data-label': 'At'}, moment(result.at)),
                element('td', {'data-label': 'Result'}, result.passed ? 'passed' : 'failed'),
                element('td', {class: 'number', 'data-label': 'Latency'}, latency_text(result.latency_ms)))))));
    }
    if (!one.health) body.append(element('p', {class: 'quiet'}, 'No health check is configured for it.'));
  } catch (error) {
    body.replaceChildren(element('p', {class: 'problem'}, error.message));
  }
}

function list(matched, one, several, items, columns) {
  const title = `${count(matched)} ${matched === 1 ? one : several}${matched > items.length ? `, ${items.length} of them` : ''}`;
  return [element('h3', {}, title), element('table', {},
    element('thead', {}, element('tr', {}, ...columns.map(([label]) => element('th', {scope: 'col'}, label)))),
    element('tbody', {}, ...items.map(item => element('tr', {}, ...columns.map(([label, value]) =>
      element('td', {'data-label': label}, String(value(item))))))))];
}

async function find_client(key) {
  const place = find('client-answer');
  place.replaceChildren(element('p', {class: 'quiet'}, 'Looking through the tables…'));
  try {
    const is_address = /^\d+\.\d+\.\d+\.\d+$/.test(key) || (/^[0-9a-f:.]+$/i.test(key) && key.split(':').length > 2);
    const number = ++asked.client;
    const sessions = await ask('v1/sessions', {key, limit: most_found});
    const none = {connections: [], matched: 0};
    const connections = is_address ? await ask('v1/connections', {key, limit: most_found}).catch(() => none) : none;
    if (number !== asked.client) return; // another question was asked meanwhile
    const found = [element('p', {class: 'quiet'}, key)];
    if (sessions.matched) {
      found.push(...list(sessions.matched, 'session', 'sessions', sessions.sessions, [
        ['Virtual server', one => one.virtual_server], ['Rule', one => one.rule], ['Member', one => one.member],
        ['Age', one => duration(one.age)], ['Idle', one => duration(one.idle)], ['Left', one => duration(one.left)], ['Hits', one => count(one.hits)]]));
    }
    if (connections.matched) {
      found.push(...list(connections.matched, 'connection', 'connections', connections.connections, [
        ['Virtual server', one => one.virtual_server], ['Client', one => one.client], ['Member', one => one.member ?? 'not yet'],
        ['State', one => one.state], ['Idle', one => duration(one.idle)]]));
    }
    if (found.length === 1) found.push(element('p', {}, `No session and no connection of ${key} is there now.`));
    place.replaceChildren(...found);
  } catch (error) {
    place.replaceChildren(element('p', {class: 'problem'}, error.message));
  }
}

let complaints = [];
const complain = text => complaints.push(text);
let paused = false, running = false, again = false, answered = 0;

async function refresh() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  do {
    again = false;
    complaints = [];
    try {
      await Promise.all([overview, servers, members, reasons, events].map(part => part.refresh()));
      answered = Date.now();
    } catch (error) {
      complain(answered ? `The daemon has not answered since ${new Date(answered).toLocaleTimeString()} (${error.message}). The kernel goes on forwarding.`
                        : `The daemon does not answer (${error.message}).`);
    }
    const text = complaints.join(' ');
    find('banner').hidden = !text;
    if (find('banner').textContent !== text) find('banner').textContent = text;
  } while (again);
  running = false;
  say_alive();
}

// Only a change is said aloud.
function say_alive() {
  const text = paused ? 'paused' : find('banner').hidden || Date.now() - answered < 2 * interval ? 'live' : 'no answer';
  if (find('alive').textContent !== text) find('alive').textContent = text;
}

function pause() {
  paused = !paused;
  say_alive();
  if (!paused) refresh();
}

for (const [part, id] of [[servers, 'servers-search'], [members, 'members-search']]) {
  find(id).addEventListener('input', later(() => {
    part.pages.offset = 0;
    refresh();
  }, 200));
}
find('client').addEventListener('submit', event => {
  event.preventDefault();
  find_client(find('client-key').value.trim());
});
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input') || find('detail').open || !find('keys').checked) return;
  const keys = {'/': () => find('client-key').focus(), m: () => find('members-search').focus(), p: pause};
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused) refresh(); });
setInterval(() => { if (!document.hidden && !paused) refresh(); }, interval);
refresh();
