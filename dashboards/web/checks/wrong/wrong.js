// Mistakes, each of which the check that its line names must find: `check.js` fails when one is passed over.
import { send, url, useResource } from '../../assets/lib/api.js';
import { dateTime } from '../../assets/lib/format.js';

export function Wrong({ id }) {
  const { data } = useResource(url(`/hosts/${id}`));
  const name = data.host.hostname; // wrong: tsc (nothing has come yet)
  const nick = data && data.host.nickname; // wrong: tsc (no such field is described)
  const lost = useResource(url('/no/such/address'));
  const size = lost.data && lost.data.size; // wrong: tsc (no such address is described)
  send('POST', '/users', { name: 'wang' }); // wrong: tsc (the request lacks what it must bring)
  dateTime('2026-11-22'); // wrong: tsc (milliseconds are wanted)
  const last = [1, 2].at(-1); // wrong: tsc (Chrome 92)
  const copy = structuredClone(data); // wrong: eslint (Chrome 98)
  const never = 1; // wrong: eslint (used by nothing)
  if (name == nick) return null; // wrong: eslint (== converts)
  document.body.innerHTML = name; // wrong: eslint (markup from text)
  document.body.inert = true; // wrong: eslint (Chrome 102)
  const text = /* wrong: eslint (the line below would be left out) */ `
    // ${size}`;
  return [text, size, last, copy, undeclared]; // wrong: eslint (nobody says what it is)
}
