// What the style sheets must hold: mistakes that a browser passes over in silence, and nothing that
// Chrome 86 lacks.
export default {
  plugins: ['stylelint-no-unsupported-browser-features'],
  rules: {
    'plugin/no-unsupported-browser-features': [true, {
      browsers: ['chrome 86'],
      ignore: [
        'css-not-sel-list', // taken for every list that has a `:not()` in it; selector-not-notation tells them apart
        'css-overflow', // lacks only `clip`, which declaration-property-value-disallowed-list refuses
        'css-page-break', // lacks only what margins of pages would need
        'css-sticky', // lacks only sticky table heads, of which there are none
        'multicolumn', // takes break-inside for columns; it is for pages, and works
      ],
    }],
    // What the list of browsers' features has no name for, with the first Chrome that knows it.
    'at-rule-disallowed-list': ['layer' /* 99 */, 'scope' /* 118 */, 'starting-style' /* 117 */],
    'declaration-property-value-disallowed-list': { '/^overflow/': ['/clip/' /* 90 */], '/^(min-|max-)?(width|height)$/': ['/stretch/' /* 138 */] },
    'function-disallowed-list': ['color-mix' /* 111 */, 'light-dark' /* 123 */, '/^ok(lab|lch)$/' /* 111 */, '/^(lab|lch|color|hwb)$/' /* 111 */, '/^(round|mod|rem|sin|cos|tan|abs|sign)$/' /* 111 and later */],
    'property-disallowed-list': ['aspect-ratio' /* 88 */, 'accent-color' /* 93 */, '/^(translate|rotate|scale)$/' /* 104 */, 'text-wrap' /* 114 */, '/^container/' /* 105 */, 'scrollbar-gutter' /* 94 */, 'scrollbar-color' /* 121 */, 'scrollbar-width' /* 121 */],
    'selector-not-notation': 'simple',
    'selector-pseudo-class-disallowed-list': ['has' /* 105 */, 'is' /* 88 */, 'where' /* 88 */, 'user-valid' /* 119 */, 'user-invalid' /* 119 */, 'popover-open' /* 114 */, 'dir' /* 120 */],
    'selector-pseudo-element-disallowed-list': ['file-selector-button' /* 89; -webkit-file-upload-button before */],
    'annotation-no-unknown': true,
    'at-rule-no-unknown': true,
    'block-no-empty': true,
    'color-no-invalid-hex': true,
    'custom-property-no-missing-var-function': true,
    'declaration-block-no-duplicate-custom-properties': true,
    'declaration-block-no-duplicate-properties': true,
    'declaration-block-no-shorthand-property-overrides': true,
    'declaration-property-value-no-unknown': true,
    'font-family-no-duplicate-names': true,
    'function-calc-no-unspaced-operator': true,
    'function-no-unknown': true,
    'keyframe-declaration-no-important': true,
    'media-feature-name-no-unknown': true,
    'media-query-no-invalid': true,
    'named-grid-areas-no-invalid': true,
    'no-duplicate-selectors': true,
    'no-empty-source': true,
    'no-invalid-double-slash-comments': true,
    'property-no-unknown': true,
    'selector-anb-no-unmatchable': true,
    'selector-pseudo-class-no-unknown': true,
    'selector-pseudo-element-no-unknown': true,
    'selector-type-no-unknown': true,
    'string-no-newline': true,
    'unit-no-unknown': true,
  },
};
