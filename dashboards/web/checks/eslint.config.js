// What the pages' scripts must hold beside their types: mistakes that only show when a line runs, and
// nothing that Chrome 86 lacks, which is what domestic browsers on old systems are.
import js from '@eslint/js';
import compat from 'eslint-plugin-compat';

const FLOOR = ['chrome 86'];

/** What a page finds in every browser. */
const GLOBALS = ['AbortController', 'Blob', 'Element', 'Event', 'EventSource', 'FormData', 'Intl', 'ResizeObserver', 'URL', 'URLSearchParams',
  'addEventListener', 'clearInterval', 'clearTimeout', 'console', 'dispatchEvent', 'document', 'fetch', 'getComputedStyle', 'history',
  'innerHeight', 'innerWidth', 'isFinite', 'localStorage', 'location', 'navigator', 'print', 'removeEventListener', 'scrollTo', 'setInterval', 'setTimeout', 'window'];

export default [
  { ignores: ['**/vendor/**'] },
  js.configs.recommended,
  compat.configs['flat/recommended'],
  {
    files: ['**/*.js'],
    // Syntax of ES2021 is what Chrome 86 reads; what is newer does not even parse here.
    languageOptions: { ecmaVersion: 2021, sourceType: 'module', globals: Object.fromEntries(GLOBALS.map((name) => [name, 'readonly'])) },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    settings: { targets: FLOOR, lintAllEsApis: true },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-shadow': ['error', { builtinGlobals: false }],
      'no-implicit-globals': 'error',
      'no-constant-binary-expression': 'error',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'no-unreachable-loop': 'error',
      'no-use-before-define': ['error', { functions: false, variables: false }],
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-script-url': 'error',
      'array-callback-return': 'error',
      'default-case-last': 'error',
      // A refusal that needs no answer is named for what it is: `catch (refused) { /* why */ }`.
      'no-unused-vars': ['error', { caughtErrors: 'none', ignoreRestSiblings: true, argsIgnorePattern: '^_' }],
      'no-restricted-syntax': ['error',
        { selector: 'MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]', message: 'Markup from text is how foreign script gets in: build it with html`…`.' },
        // Names on elements that Chrome 86 lacks and that neither the types nor the list of browsers knows.
        { selector: 'MemberExpression[property.name=/^(inert|popover|showPopover|togglePopover|checkVisibility|onscrollend)$/]', message: 'Chrome 86 has no such thing.' },
        { selector: 'TemplateElement[value.raw=/\\n\\s*(\\/\\/|\\/\\*)/]', message: 'Where the file is embedded, this line would be taken for a comment and left out.' },
        { selector: 'ImportDeclaration[source.value=/^[^.]/]', message: 'There is no build step and no import map: name the file.' }],
    },
  },
  // This folder's own program runs in node.
  { files: ['checks/check.js'], languageOptions: { ecmaVersion: 2022, globals: { process: 'readonly', URL: 'readonly' } }, rules: { 'compat/compat': 'off', 'no-restricted-syntax': 'off' } },
  // A plain script that runs before the page is drawn.
  { files: ['**/theme.js'], languageOptions: { sourceType: 'script' }, rules: { 'no-var': 'off', strict: ['error', 'function'] } },
];
