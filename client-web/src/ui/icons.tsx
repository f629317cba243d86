/** Icons, drawn for this client on a grid of 24. Decoration only: each button has words of its own. */
const PATHS = {
  play: "M8 5.2v13.6a.9.9 0 0 0 1.38.76l10.6-6.8a.9.9 0 0 0 0-1.52L9.38 4.44A.9.9 0 0 0 8 5.2Z",
  back: "M14.5 5 7.5 12l7 7",
  fullscreen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  windowed: "M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4ZM15.5 8.8a4.6 4.6 0 0 1 0 6.4M18 6.2a8.2 8.2 0 0 1 0 11.6",
  silent: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4ZM16 9.5l5 5M21 9.5l-5 5",
  stats: "M4 20V13M10 20V5M16 20V9.5M21 20H3",
  keyboard: "M3 7h18v10H3zM6.5 10.2h.01M10 10.2h.01M13.5 10.2h.01M17 10.2h.01M8 14h8",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 1 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 1 0 5.7 5.7l1-1",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8v4.4M9 14.8v4.4",
  power: "M12 4v8M7 6.8a7.5 7.5 0 1 0 10 0",
  eye: "M2.5 12S6 5.8 12 5.8 21.5 12 21.5 12 18 18.2 12 18.2 2.5 12 2.5 12ZM12 14.6a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "m6 6 12 12M18 6 6 18",
  save: "M5 4h11l3 3v13H5zM8.5 4v5h6V4M8.5 20v-6h7v6",
  screen: "M3 5h18v11H3zM9 20h6",
  chip: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" data-solid={name === "play" || undefined}>
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark: a lamp just above the horizon, and its light on the ground. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <defs>
        <linearGradient id="mark-light" x1="0" y1="0" x2="0" y2="1">
          <stop offset="0" stop-color="#ffe0a3" />
          <stop offset="1" stop-color="#ff7a3d" />
        </linearGradient>
      </defs>
      <path d="M6 18a10 10 0 0 1 20 0Z" fill="url(#mark-light)" />
      <path d="M3 21.5h26M7.5 25h17M12.5 28.5h7" stroke="url(#mark-light)" stroke-width="1.9" stroke-linecap="round" />
    </svg>
  );
}
