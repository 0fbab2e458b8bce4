// Runs before the first paint, so that a dark, high-contrast or English page never flashes light or
// Chinese.
// A plain script, because modules wait for the whole document.
(function () {
  'use strict';
  var root = document.documentElement;
  var dark = window.matchMedia('(prefers-color-scheme: dark)');
  // Browsers that do not know the question answer no.
  var more = window.matchMedia('(prefers-contrast: more)');
  /** @param {string} key */
  function stored(key) {
    try { return localStorage.getItem(key); } catch (refused) { return null; }
  }
  function apply() {
    var choice = stored('xiezhi.theme');
    root.dataset.theme = choice === 'dark' || choice === 'light' ? choice : dark.matches ? 'dark' : 'light';
    var contrast = stored('xiezhi.contrast');
    root.dataset.contrast = contrast === 'more' || contrast === 'normal' ? contrast : more.matches ? 'more' : 'normal';
  }
  var asked = new URLSearchParams(location.search).get('lang');
  if (asked === 'en' || asked === 'zh') {
    try { localStorage.setItem('xiezhi.lang', asked); } catch (refused) { /* this page only */ }
  }
  root.lang = (asked || stored('xiezhi.lang')) === 'en' ? 'en' : 'zh-CN';
  apply();
  dark.addEventListener('change', apply);
  more.addEventListener('change', apply);
  window.xiezhiApplyTheme = apply;
})();
