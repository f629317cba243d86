import { defineConfig } from "vite";
import { mockBroker } from "./dev/mock.ts";

// `npm run dev` proxies to a broker on its default port; `npm run dev -- --mode mock` needs none.
export default defineConfig(({ mode }) => ({
  plugins: mode === "mock" ? [mockBroker()] : [],
  server: {
    port: 5173,
    strictPort: true,
    ...(mode === "mock" ? {} : { proxy: { "/v1": { target: "http://127.0.0.1:8080", changeOrigin: true } } }),
  },
  build: {
    target: "es2022",
    // The content security policy takes no data: scripts or styles, and pictures are files anyway.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
}));
