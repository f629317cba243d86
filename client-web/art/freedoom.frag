// A corridor that somebody should not have opened: few pixels, few colours, ordered dither.
const vec2 CELLS = vec2(400.0, 250.0);

float bayer(vec2 p) {
  float v = 0.0, s = 0.25;
  for (int i = 0; i < 3; i++) {
    vec2 q = mod(floor(p), 2.0);
    v += s * (q.x == q.y ? (q.x == 0.0 ? 0.0 : 1.0) : (q.x == 1.0 ? 2.0 : 3.0));
    p *= 0.5; s *= 0.25;
  }
  return v;
}
float box(vec2 p, vec2 b) { vec2 d = abs(p) - b; return length(max(d, 0.0)) + min(max(d.x, d.y), 0.0); }

vec3 wall(vec2 uv, float side) {
  vec2 cell = floor(uv * vec2(0.5, 1.0)), in_ = fract(uv * vec2(0.5, 1.0));
  float grain = fbm(uv * 9.0) * 0.5 + fbm(uv * 31.0) * 0.3;
  vec3 metal = mix(vec3(0.17, 0.15, 0.16), vec3(0.36, 0.28, 0.24), grain);
  float seam = smoothstep(0.0, 0.035, min(min(in_.x, 1.0 - in_.x) * 2.0, min(in_.y, 1.0 - in_.y)));
  float rivet = smoothstep(0.05, 0.03, length(vec2(abs(in_.x - 0.5) * 2.0 - 0.86, abs(in_.y - 0.5) - 0.4)));
  float rust = smoothstep(0.5, 0.75, fbm(uv * vec2(3.0, 1.2) + cell * 3.7));
  metal = mix(metal, vec3(0.42, 0.16, 0.07) * (0.6 + grain), rust * 0.75);
  return metal * (0.35 + 0.65 * seam) + rivet * 0.16 + hash(cell + side) * 0.03;
}

vec3 scene(vec2 p) {
  vec3 rd = normalize(vec3(p.x, p.y - 0.03, 1.05));
  vec3 ro = vec3(0.35, 0.0, 0.0);
  float tx = (sign(rd.x) * 2.1 - ro.x) / rd.x, ty = (rd.y > 0.0 ? 1.35 - ro.y : -1.0 - ro.y) / rd.y, tz = 14.0 / rd.z;
  float t = min(tx, min(ty, tz));
  vec3 pos = ro + rd * t;
  vec3 c;
  // Lamps in the ceiling, one broken, light the walls around them.
  float lampZ = (fract(pos.z / 5.0) - 0.5) * 5.0;
  float alive = step(0.16, abs(floor(pos.z / 5.0)));
  float lamp = exp(-lampZ * lampZ * 0.7) * alive;
  if (t == tx) {
    c = wall(pos.zy, sign(rd.x));
    float strip = smoothstep(0.05, 0.02, abs(pos.y + 0.62));
    c += strip * vec3(1.0, 0.32, 0.06) * (0.55 + 0.45 * step(0.25, fract(pos.z * 0.5)));
    c *= 0.36 + lamp * vec3(0.95, 0.85, 0.7) + 0.35 * exp(-abs(pos.y + 0.62) * 3.5) * vec3(1.5, 0.45, 0.1);
  } else if (t == ty) {
    vec2 uv = pos.xz;
    if (rd.y < 0.0) {
      vec2 f = fract(uv);
      float tile = smoothstep(0.0, 0.05, min(min(f.x, 1.0 - f.x), min(f.y, 1.0 - f.y)));
      float check = mod(floor(uv.x) + floor(uv.y), 2.0);
      c = mix(vec3(0.15, 0.12, 0.12), vec3(0.27, 0.21, 0.18), check * 0.7 + 0.3 * fbm(uv * 6.0)) * (0.4 + 0.6 * tile);
      float puddle = smoothstep(0.53, 0.6, fbm(uv * vec2(0.9, 0.45) + 3.0));
      c = mix(c, vec3(0.95, 0.30, 0.06) * (0.55 + 0.6 * fbm(uv * 4.0)), puddle * 0.85);
      c *= 0.42 + lamp * 0.7;
      c += vec3(1.0, 0.28, 0.05) * exp(-abs(uv.x) * 1.0) * smoothstep(2.0, 14.0, pos.z) * 0.9;
    } else {
      c = wall(uv.yx * 0.8, 3.0) * (0.4 + lamp * 0.5);
      float panel = smoothstep(0.06, 0.0, max(abs(uv.x) - 0.55, abs(lampZ) - 0.85));
      c = mix(c, vec3(1.15, 1.05, 0.85), panel * alive);
    }
  } else {
    // The gate at the end.
    vec2 g = pos.xy - vec2(0.0, 0.12);
    float frame = abs(box(g, vec2(1.5, 1.02)));
    float swirl = fbm(vec2(atan(g.y, g.x) * 1.6 + length(g) * 2.4, length(g) * 3.0));
    c = mix(vec3(0.18, 0.03, 0.02), vec3(1.6, 0.75, 0.18), smoothstep(2.0, 0.1, length(g)) * (0.7 + 0.8 * swirl));
    c += smoothstep(0.14, 0.0, frame) * vec3(1.1, 0.4, 0.1);
  }
  float fog = 1.0 - exp(-t * 0.07);
  if (t != tz) c = mix(c * vec3(0.62, 0.5, 0.5), vec3(0.5, 0.09, 0.03), fog * fog);
  c += vec3(1.0, 0.34, 0.07) * 0.5 / (1.0 + 16.0 * dot(p - vec2(-0.015, 0.035), p - vec2(-0.015, 0.035)));
  return c;
}

// Something with horns stands in the light.
float join(float a, float b, float k) { float h = clamp(0.5 + 0.5 * (b - a) / k, 0.0, 1.0); return mix(b, a, h) - k * h * (1.0 - h); }
float limb(vec2 p, vec2 a, vec2 b, float ra, float rb) { vec2 v = b - a; float h = clamp(dot(p - a, v) / dot(v, v), 0.0, 1.0); return length(p - a - v * h) - mix(ra, rb, h); }
float beast(vec2 p) {
  float lean = p.x;
  p.x = abs(p.x);
  float d = length((p - vec2(0.0, 0.34)) * vec2(0.78, 1.0)) - 0.27;
  d = join(d, length(p - vec2(0.3, 0.5)) - 0.16, 0.12);
  d = join(d, length((p - vec2(0.0, 0.02)) * vec2(1.0, 0.9)) - 0.19, 0.16);
  d = join(d, length((p - vec2(0.0, 0.62)) * vec2(1.0, 0.82)) - 0.135, 0.07);
  d = join(d, limb(p, vec2(0.38, 0.45), vec2(0.53 + lean * 0.06, 0.12), 0.1, 0.075), 0.06);
  d = join(d, limb(p, vec2(0.53 + lean * 0.06, 0.12), vec2(0.46, -0.2), 0.08, 0.07), 0.03);
  for (int i = 0; i < 3; i++) d = min(d, limb(p, vec2(0.41 + float(i) * 0.05, -0.22), vec2(0.38 + float(i) * 0.06, -0.36), 0.028, 0.004));
  d = join(d, limb(p, vec2(0.12, -0.05), vec2(0.27, -0.36), 0.14, 0.085), 0.08);
  d = join(d, limb(p, vec2(0.27, -0.36), vec2(0.18, -0.58), 0.08, 0.05), 0.03);
  d = join(d, limb(p, vec2(0.18, -0.58), vec2(0.25, -0.76), 0.055, 0.05), 0.03);
  d = min(d, limb(p, vec2(0.2, -0.8), vec2(0.34, -0.8), 0.045, 0.03));
  float horn = limb(p, vec2(0.08, 0.7), vec2(0.23, 0.78), 0.05, 0.045);
  horn = join(horn, limb(p, vec2(0.23, 0.78), vec2(0.29, 0.98), 0.045, 0.006), 0.05);
  return min(d, horn);
}

// What the player holds: a stubby blaster, seen from behind.
vec4 blaster(vec2 p) {
  p = (p - vec2(0.13, -0.56)) * 0.8;
  float body = box(p - vec2(0.0, -0.06), vec2(0.10 - p.y * 0.12, 0.2));
  float barrel = box(p - vec2(0.0, 0.17), vec2(0.052, 0.09)) - 0.012;
  float sight = box(p - vec2(0.0, 0.285), vec2(0.012, 0.025));
  float fist = length((p - vec2(0.03, -0.24)) * vec2(0.8, 1.0)) - 0.17;
  float d = min(min(body, barrel), sight);
  vec3 steel = mix(vec3(0.08, 0.08, 0.1), vec3(0.5, 0.48, 0.5), smoothstep(0.09, -0.02, abs(p.x + 0.03)) * 0.8);
  steel += vec3(1.0, 0.5, 0.15) * smoothstep(0.03, 0.0, abs(p.x - 0.065)) * 0.5;
  steel += step(box(p - vec2(0.0, 0.02), vec2(0.03, 0.008)), 0.0) * vec3(0.3, 1.2, 0.6);
  vec3 glove = mix(vec3(0.08, 0.06, 0.05), vec3(0.42, 0.27, 0.16), smoothstep(0.14, -0.2, fist + p.x * 0.3));
  if (d < 0.0) return vec4(steel * smoothstep(0.0, -0.012, d) + 0.02, 1.0);
  if (fist < 0.0) return vec4(glove, 1.0);
  return vec4(0.0);
}

void main() {
  vec2 cell = floor(gl_FragCoord.xy / size * CELLS);
  vec2 p = (cell + 0.5 - CELLS * 0.5) / CELLS.y * 1.15;
  vec3 c = scene(p);
  vec2 b = (p - vec2(-0.04, -0.03)) * 3.6;
  float d = beast(b);
  float rim = smoothstep(0.05, 0.0, abs(d)) * smoothstep(-0.6, 0.9, b.y + 0.4);
  c = mix(c, vec3(0.07, 0.02, 0.02) + rim * vec3(0.9, 0.3, 0.06), step(d, 0.0));
  float eyes = length(vec2(abs(b.x) - 0.056, b.y - 0.635 - abs(b.x) * 0.35) * vec2(1.0, 1.9)) - 0.032;
  c = mix(c, vec3(1.8, 1.5, 0.5), step(eyes, 0.0));
  vec4 gun = blaster(p);
  c = mix(c, gun.rgb, gun.a);
  c *= 1.0 - 0.42 * dot(p, p);
  c = pow(c / (c + 0.7) * 1.62, vec3(1.12));
  // Thirteen shades a channel and a Bayer matrix: as many colours as it needs.
  c = floor(c * 13.0 + bayer(cell)) / 13.0;
  gl_FragColor = vec4(c, 1.0);
}
