// Who is signed in and what they may do, for every part of the page: what a person may not see is
// not offered anywhere. The controller decides all the same.
import { watched, useWatched } from './store.js';

const who = watched(/** @type {Api.Shape<'Me'>|null} */ (null));

/** @param {Api.Shape<'Me'>} me */
export const setWho = (me) => who.set(me);
export const useWho = () => useWatched(who);

/**
 * Whether the account is a wall's: it sees the overview and nothing else, and belongs on the wall's screen.
 * @param {Api.Shape<'Me'>|null} me
 */
export const isWall = (me) => me !== null && me.permissions.length === 1 && me.permissions[0] === 'see_overview';

/** Tells whether the account has a permission. */
export function useMay() {
  const me = useWho();
  return (/** @type {string} */ permission) => Boolean(me && me.permissions.includes(permission));
}
