// Shows the application without a network as well. What belongs to the sign-in is left to the browser.
addEventListener("install", (event) => {
  event.waitUntil(caches.open("shell").then((cache) => cache.add("/")));
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { mode, url } = event.request;
  const { pathname } = new URL(url);
  if (pathname.startsWith("/procore/")) return;
  if (pathname.startsWith("/assets/")) {
    event.respondWith(kept(event.request));
  } else if (mode === "navigate") {
    event.respondWith(fetch(event.request).catch(() => caches.match("/")));
  }
});

/** Fetch a file once: its name has a hash of its content. */
async function kept(request) {
  const found = await caches.match(request);
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) {
    const cache = await caches.open("shell");
    await cache.put(request, response.clone());
  }
  return response;
}
