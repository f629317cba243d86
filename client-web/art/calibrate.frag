// A test card: half dark, half light, where a key press turns one into the other.
float line(float d, float w) { return smoothstep(w, 0.0, abs(d)); }
void main() {
  vec2 uv = gl_FragCoord.xy / size, p = (gl_FragCoord.xy - size * 0.5) / size.y;
  float edge = p.x + 0.34 * p.y - 0.12;
  float lightSide = smoothstep(-0.0015, 0.0015, edge);
  vec3 dark = mix(vec3(0.035, 0.035, 0.055), vec3(0.09, 0.075, 0.09), uv.y);
  vec3 pale = mix(vec3(0.98, 0.88, 0.70), vec3(1.0, 0.97, 0.90), uv.y);
  vec2 g = abs(fract(p * 16.0 + 0.5) - 0.5) / 16.0;
  float grid = line(min(g.x, g.y), 0.0016);
  dark += grid * 0.06; pale -= grid * 0.07;
  vec3 c = mix(dark, pale, lightSide);
  c += vec3(1.0, 0.6, 0.2) * 0.55 * exp(-abs(edge) * 16.0) * (1.0 - lightSide);
  // The pulse: flat, the press, the answer, flat.
  float x = p.x + 0.1;
  float wave = 0.30 * exp(-x * x * 60.0) * sin(x * 58.0) + 0.018 * sin(p.x * 30.0) * exp(-x * x * 6.0) - 0.03;
  float slope = abs(dFdx(wave) * size.y) + 1.0;
  float d = (p.y - wave) / sqrt(slope * slope);
  vec3 ink = mix(vec3(1.0, 0.68, 0.24), vec3(0.45, 0.13, 0.03), lightSide);
  c = mix(c, ink, line(d, 0.007));
  c += (1.0 - lightSide) * vec3(1.0, 0.5, 0.15) * 0.5 * exp(-abs(d) * 30.0 - abs(p.y - wave) * 7.0);
  // The barcode: a counter that a program can read.
  vec2 b = vec2(p.x + 0.68, 0.40 - p.y) / 0.026;
  if (b.x > 0.0 && b.x < 16.0 && b.y > 0.0 && b.y < 4.0) {
    vec2 k = floor(b);
    float bit = k.y < 1.0 ? mod(k.x, 2.0) : step(0.5, hash(k + 7.3));
    c = mix(vec3(0.02), vec3(0.97), bit);
  }
  // The bar that moves at the display's rate, and where it was.
  for (int i = 0; i < 7; i++) {
    float at = 0.62 - float(i) * 0.055;
    float bar = smoothstep(0.0125, 0.0115, abs(p.x - at)) * smoothstep(-0.2995, -0.301, p.y) * smoothstep(-0.401, -0.3995, p.y);
    c = mix(c, mix(vec3(1.0, 0.62, 0.2), vec3(0.85, 0.32, 0.06), lightSide), bar * (1.0 - float(i) * 0.15));
  }
  gl_FragColor = vec4(c, 1.0);
}
