// A QR code drawn from rows of 0 and 1, dark on light whatever the theme: cameras need it so.
import { html } from '../lib/html.js';

export function QrCode({ code, label }) {
  const size = code.rows.length + 8;
  const squares = code.rows.flatMap((row, y) => [...row].map((sign, x) => (sign === '1' ? `M${x + 4} ${y + 4}h1v1h-1z` : '')));
  return html`<svg class="qr" viewBox=${`0 0 ${size} ${size}`} role="img" aria-label=${label} shape-rendering="crispEdges">
    <rect width=${size} height=${size} fill="#fff" /><path d=${squares.join('')} fill="#000" /></svg>`;
}
