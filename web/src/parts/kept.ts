// What this browser remembers for the page: choices only, never what was said.

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`accordant-${name}`);
  } catch {
    return null; // a browser that keeps nothing still shows the page
  }
}

export function keep(name: string, value: string) {
  try {
    localStorage.setItem(`accordant-${name}`, value);
  } catch {
    // see above
  }
}
