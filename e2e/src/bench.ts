/** `npm run bench`: the suites one after the other, or the one that SUITE names. Ends with 1 if a figure misses its aim. */

const SUITES = ["play", "stream", "broker", "jobs", "proof"];
const wanted = process.env["SUITE"] ? [process.env["SUITE"]] : SUITES;
for (const suite of wanted) {
  if (!SUITES.includes(suite)) throw new Error(`SUITE takes ${SUITES.join(", ")}, not ${suite}`);
  await import(`./bench/${suite}.js`);
}
