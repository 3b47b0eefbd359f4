import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Browsers see one address, that of the redirect URI. The host has to stay as it is.
const behind = { target: process.env.API ?? "http://127.0.0.1:8001", changeOrigin: false };

export default defineConfig({
  plugins: [react()],
  server: { port: 8000, strictPort: true, proxy: { "/procore/": behind, "/api/": behind } },
  build: { assetsInlineLimit: 0 }, // a strict policy allows no data: address
});
