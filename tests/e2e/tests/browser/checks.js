// What a test asks of any page. Each answers with a list of complaints in words.

const shown = (element) => {
  const box = element.getBoundingClientRect();
  if (!box.width || !box.height) return false;
  const style = getComputedStyle(element);
  return style.visibility !== 'hidden' && style.display !== 'none';
};
const named = (element) => {
  const classes = element.getAttribute('class');
  return element.tagName.toLowerCase() + (classes ? `.${classes.trim().split(/\s+/).join('.')}` : '');
};

/** Whatever sticks out of the page to the side; scrolled boxes may hold more than they show. */
function overflow() {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const scrolled = (element) => {
    for (let above = element.parentElement; above; above = above.parentElement) {
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(above).overflowX) && above !== document.body) return true;
    }
    return false;
  };
  const wide = [...document.body.querySelectorAll('*')]
    .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1 && !scrolled(element));
  return [`the page is ${root.scrollWidth} px wide in a window of ${root.clientWidth}: ${wide.slice(0, 4).map(named).join(', ')}`];
}

/** Buttons, badges and headings whose text does not fit into them. */
function clipped() {
  return [...document.querySelectorAll('button, .button, .segment, .tag, .status, h1, h2, .nav a')]
    .filter((element) => shown(element) && !element.closest('.visually-hidden') && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
      && getComputedStyle(element).textOverflow !== 'ellipsis' && getComputedStyle(element).display !== 'inline')
    .map((element) => `text is cut off: ${named(element)} “${element.textContent.trim().slice(0, 30)}”`);
}

// Units, names of things that have no other name, and the program's own commands.
const KNOWN = /^(Grafana|Prometheus|CPU|MAC|USB|TCP|UDP|IP|ID|AP|SSH|TLS|JSON|CSV|I|O|B|KB|MB|GB|TB|PB|bit|kbit|Mbit|Gbit|ms|s|v|UTC|VLAN|root|xlsx|xls|Ctrl)$/;
const COMMAND = /xiezhi-(controller|agent)( [a-z][a-z-]*)*|\.csv|GB\/T \d+-\d+/g;

/** Latin words that a Chinese reader is shown as text; data is marked `translate="no"`. */
function english() {
  const found = new Set();
  const look = (text, where) => {
    for (const word of text.replace(COMMAND, '').match(/[A-Za-z]{2,}/g) || []) {
      if (!KNOWN.test(word)) found.add(`English “${text.trim().slice(0, 60)}” in ${where}`);
    }
  };
  const own = (element) => element.closest('[translate="no"], code, pre, [lang="en"], script, style, noscript') === null;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (element && own(element)) look(walker.currentNode.data, named(element));
  }
  for (const element of document.querySelectorAll('[title], [aria-label], [placeholder], [alt], [data-label]')) {
    if (!own(element)) continue;
    for (const name of ['title', 'aria-label', 'placeholder', 'alt', 'data-label']) look(element.getAttribute(name) || '', `${named(element)}[${name}]`);
  }
  look(document.title, 'title');
  return [...found];
}

/** Keys of texts that are missing from the table show as they are. */
function untranslated() {
  const keys = document.body.innerText.match(/\b[a-z]+(\.[a-z_]+)+\b/g) || [];
  const outside = (key) => ![...document.querySelectorAll('[translate="no"]')].some((element) => element.textContent.includes(key));
  return [...new Set(keys)].filter(outside).map((key) => `a text has no words: ${key}`);
}

/** Whatever can be reached by the tabulator key, in the order of the page. */
function reachable() {
  return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter((element) => !element.disabled && element.tabIndex >= 0 && shown(element));
}

/** What has the focus, as an index into `reachable()`, and whether that can be seen. */
function focused() {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  // The calendar button inside a date field is the browser's own, and so is its ring.
  const own = element.type === 'datetime-local' && !element.matches(':focus');
  const within = element.closest('.search');
  // A cell of the wall is drawn, and so is its ring.
  const edge = element.querySelector('polygon');
  const drawn = Boolean(edge) && parseFloat(getComputedStyle(edge).strokeWidth) > 2;
  const visible = ring || own || drawn || style.boxShadow !== 'none' || (within && getComputedStyle(within).boxShadow !== 'none') || (within && getComputedStyle(within).outlineStyle !== 'none');
  return { index: reachable().indexOf(element), visible: Boolean(visible), name: `${named(element)} “${(element.textContent || element.getAttribute('aria-label') || '').trim().slice(0, 30)}”` };
}
