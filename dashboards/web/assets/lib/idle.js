// Whether somebody sits at this page. What the page asks of its own accord says so to the controller,
// which then does not take it for use of the session: a page left open keeps nobody signed in.

/** The acts so far; opening the page is the first. */
let acts = 1;
let told = 0;
// Moving the mouse is none: a table that shakes would keep a session for ever.
for (const kind of ['pointerdown', 'keydown', 'wheel', 'input', 'popstate']) {
  addEventListener(kind, (event) => { if (event.isTrusted) acts += 1; }, { capture: true, passive: true });
}

/**
 * What a reading request says of it, and what to call once it was answered: an act of which no answer
 * came is told again.
 * @returns {{ headers: Record<string, string>, answered: () => void }}
 */
export function sinceLast() {
  const upTo = acts;
  return {
    headers: upTo === told ? { 'x-xiezhi-idle': '1' } : {},
    answered: () => { told = Math.max(told, upTo); },
  };
}
