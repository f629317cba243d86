import tseslint from "typescript-eslint";

/** Layers: what a folder must not import. The player's path never sees the UI or its library. */
const layer = (folder, forbidden, message) => ({
  files: [`src/${folder}/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          { group: ["preact", "preact/*", "@preact/*"], message: "The UI library belongs to ui/." },
          { group: forbidden, message },
        ],
      },
    ],
  },
});

export default tseslint.config(
  { ignores: ["dist", "node_modules", "src/wire/types.ts", "src/wire/constants.ts"] },
  ...tseslint.configs.recommended,
  {
    files: ["**/*.{ts,tsx}"],
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } }],
      "no-restricted-properties": [
        "error",
        { object: "window", property: "nearlight", message: "Nothing is exposed on window; see README.md." },
      ],
      "max-lines": ["error", { max: 250 }],
      eqeqeq: "error",
    },
  },
  { files: ["*.config.ts"], rules: { "no-restricted-exports": "off" } },
  layer("wire", ["**/session/*", "**/stream/*", "**/probe/*", "**/input/*", "**/ui/*"], "wire/ depends on nothing."),
  layer("session", ["**/ui/*", "**/input/*", "**/probe/*"], "session/ never imports ui/, input/ or probe/."),
  layer("receipts", ["**/ui/*", "**/input/*", "**/stream/*", "**/probe/*"], "receipts/ imports wire/ and session/ only."),
  layer("stream", ["**/ui/*", "**/input/*", "**/session/*", "**/probe/*"], "stream/ imports wire/ only."),
  layer("probe", ["**/ui/*", "**/input/*", "**/session/*"], "probe/ imports wire/ and stream/ only."),
  layer("input", ["**/ui/*", "**/session/*", "**/stream/*", "**/probe/*"], "input/ imports wire/ only."),
);
