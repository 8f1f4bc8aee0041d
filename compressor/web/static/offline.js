// A service worker, for a page that was written as files: it answers without a network from what was loaded before, and adds
// the headers that give WebAssembly threads, which few servers of files send. With a network, that comes first: nothing is stale.
const KEPT = `page of ${self.registration.scope}`;
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function keep() {
  const kept = await caches.open(KEPT), { offline } = await fetch("page.json").then((found) => found.json());
  await kept.addAll(["./", ...offline]);
}

async function answer(request) {
  const kept = await caches.open(KEPT);
  try {
    const found = await fetch(request, { cache: "no-cache" });
    if (found.status === 200) await kept.put(request.url, found.clone()).catch(() => {}); // a full disk
    return isolated(found);
  } catch (error) {
    const found = await kept.match(request.url, { ignoreSearch: true });
    if (!found) throw error;
    return isolated(found);
  }
}

function isolated(found) {
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
