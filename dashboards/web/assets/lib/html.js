// One place that binds htm to Preact; every other module imports from here.
import { h, render, Fragment } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export const html = htm.bind(h);
export { render, Fragment };
export { useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useReducer, useErrorBoundary } from '../vendor/hooks.js';
