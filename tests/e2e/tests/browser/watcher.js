// Runs in every document before its own scripts: chooses language and theme, and keeps what goes
// wrong in `window.noticed` for the test to read.
(() => {
  window.noticed = [];
  const notice = (text) => window.noticed.push(String(text));
  try {
    localStorage.setItem('xiezhi.lang', '$LANGUAGE');
    localStorage.setItem('xiezhi.theme', '$THEME');
  } catch (blank) { return; }
  addEventListener('error', (event) => notice(`error: ${event.message || (event.target && event.target.outerHTML)}`), true);
  addEventListener('unhandledrejection', (event) => notice(`rejection: ${event.reason}`));
  document.addEventListener('securitypolicyviolation', (event) => notice(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  for (const level of ['error', 'warn']) {
    const said = console[level];
    console[level] = (...words) => { notice(`console.${level}: ${words.join(' ')}`); said.apply(console, words); };
  }
})();
