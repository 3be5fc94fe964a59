// Sends events with the public CloudEvents SDK for JavaScript. Arguments: the URL of the events door. Prints one status a line.
import { createRequire } from "node:module";

// The SDK is installed in the folder that the test runs in.
const { CloudEvent, HTTP } = createRequire(process.cwd() + "/")("cloudevents");

const post = async ({ headers, body }) => {
  const answer = await fetch(process.argv[2], { method: "POST", headers, body });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  console.log(answer.status);
};

const data = [
  [{ n: 1, text: "€" }, "application/json"],
  ["plain", "text/plain"],
  [new Uint8Array([0, 255]), "application/octet-stream"],
];
for (const [number, [value, datacontenttype]] of data.entries()) {
  for (const mode of ["binary", "structured"]) {
    // Header values of this SDK are not percent-encoded: only what a header may hold.
    const event = new CloudEvent({
      id: `${mode}-${number}`, source: "/javascript/1", type: `${mode}.${number}`, subject: "a b", comexampleextension: "x", datacontenttype, data: value,
    });
    await post(HTTP[mode](event));
  }
}
