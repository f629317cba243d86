// Draws the catalogue's pictures: `npm run art [name...]`. Each is a fragment shader of this folder,
// made for Nearlight; nothing of the apps' own artwork is in them.
import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const SIZE = { width: 1280, height: 800 };
const names = process.argv.length > 2 ? process.argv.slice(2) : ["freedoom", "neverball", "calibrate"];
const file = (path) => new URL(path, import.meta.url);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const page = await browser.newPage();
for (const name of names) {
  const shader = readFileSync(file("common.glsl"), "utf8") + readFileSync(file(`${name}.frag`), "utf8");
  const url = await page.evaluate(draw, { shader, ...SIZE });
  writeFileSync(file(`../public/apps/${name}.webp`), Buffer.from(url.split(",")[1], "base64"));
  console.log(name);
}
await browser.close();

/** Runs in the page: one triangle over a canvas, in strips, for a software GPU has a watchdog too. */
function draw({ shader, width, height }) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true });
  const program = gl.createProgram();
  const add = (type, source) => {
    const part = gl.createShader(type);
    gl.shaderSource(part, source);
    gl.compileShader(part);
    if (!gl.getShaderParameter(part, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(part));
    gl.attachShader(program, part);
  };
  const modern = shader.replace("precision highp float;", "precision highp float; out vec4 colour;").replaceAll("gl_FragColor", "colour");
  add(gl.VERTEX_SHADER, "#version 300 es\nin vec2 at; void main() { gl_Position = vec4(at, 0, 1); }");
  add(gl.FRAGMENT_SHADER, `#version 300 es\n${modern}`);
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.uniform2f(gl.getUniformLocation(program, "size"), width, height);
  gl.enable(gl.SCISSOR_TEST);
  for (let y = 0; y < height; y += 40) {
    gl.scissor(0, y, width, 40);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.finish();
  }
  return canvas.toDataURL("image/webp", 0.86);
}
