// What one plain script leaves for the modules.
interface Window {
  /** Looks at the stored choices of light or dark and of contrast again. */
  xiezhiApplyTheme: () => void;
}
