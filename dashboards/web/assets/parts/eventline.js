// One event in a short list.
import { html } from '../lib/html.js';
import { word } from '../lib/i18n.js';
import { shortTime, dateTime } from '../lib/format.js';
import { eventText } from '../lib/eventtext.js';
import { Severity, HostLink } from './status.js';

export const EventLine = ({ event, plain }) => html`<li class="event-line">
  <time class="muted" dateTime=${new Date(event.time_ms).toISOString()} title=${dateTime(event.time_ms)}>${shortTime(event.time_ms)}</time>
  <${Severity} severity=${event.severity} /><span class="event-kind">${word('kind', event.kind)}</span>
  <span class="event-text">${plain ? null : html`<${HostLink} host=${event.host} /> `}<span translate=${false}>${eventText(event)}</span></span></li>`;
