// A polished ball on a tilted floor above the clouds.
const vec3 SUN = vec3(-0.52, 0.62, -0.58);
vec3 tilt(vec3 p) { float a = 0.13, b = -0.1; p.xy = mat2(cos(a), sin(a), -sin(a), cos(a)) * p.xy; p.yz = mat2(cos(b), sin(b), -sin(b), cos(b)) * p.yz; return p; }
float slab(vec3 p, vec3 b, float r) { vec3 q = abs(p) - b + r; return length(max(q, 0.0)) + min(max(q.x, max(q.y, q.z)), 0.0) - r; }
float coin(vec3 p, float turn) {
  p.xz = mat2(cos(turn), sin(turn), -sin(turn), cos(turn)) * p.xz;
  vec2 d = abs(vec2(length(p.xy), p.z)) - vec2(0.3, 0.055);
  return length(max(d, 0.0)) + min(max(d.x, d.y), 0.0) - 0.02;
}
const vec3 BALL = vec3(-0.75, 0.86, 0.9);

vec2 near(vec2 a, vec2 b) { return a.x < b.x ? a : b; }
vec2 map(vec3 w) {
  vec3 p = tilt(w);
  vec2 d = vec2(slab(p - vec3(0.0, -0.2, 2.6), vec3(2.6, 0.2, 4.2), 0.09), 1.0);
  d = near(d, vec2(slab(p - vec3(4.0, -0.05, 7.9), vec3(2.2, 0.2, 2.2), 0.09), 1.0));
  d = near(d, vec2(slab(p - vec3(2.5, 0.2, 3.2), vec3(0.14, 0.35, 3.6), 0.08), 3.0));
  d = near(d, vec2(slab(p - vec3(-2.5, 0.2, 1.6), vec3(0.14, 0.35, 3.2), 0.08), 3.0));
  d = near(d, vec2(length(p - BALL) - 0.85, 2.0));
  d = near(d, vec2(coin(p - vec3(0.75, 0.62, 2.5), 0.6), 4.0));
  d = near(d, vec2(coin(p - vec3(1.0, 0.62, 4.0), 1.1), 4.0));
  d = near(d, vec2(coin(p - vec3(1.6, 0.64, 5.5), 0.2), 4.0));
  d = near(d, vec2(coin(p - vec3(2.9, 0.7, 6.9), 0.8), 5.0));
  vec3 ring = p - vec3(4.3, 0.95, 8.2);
  d = near(d, vec2(length(vec2(length(ring.xy) - 0.85, ring.z)) - 0.11, 6.0));
  return d;
}
vec3 sky(vec3 rd) {
  float h = max(rd.y, -0.25);
  vec3 c = mix(vec3(0.60, 0.80, 0.97), vec3(0.03, 0.20, 0.62), smoothstep(-0.12, 0.34, h));
  vec2 uv = rd.xz / (abs(rd.y) + 0.16);
  float cloud = smoothstep(0.46, 0.78, fbm(uv * 0.95 + vec2(3.1, 0.4)));
  c = mix(c, vec3(1.0, 0.98, 0.95), cloud * smoothstep(-0.02, 0.16, rd.y) * 0.85);
  float below = smoothstep(0.02, -0.22, rd.y);
  c = mix(c, mix(vec3(0.36, 0.58, 0.86), vec3(1.0, 0.93, 0.86), smoothstep(0.35, 0.7, fbm(uv * 1.1))), below);
  float s = max(dot(rd, normalize(SUN)), 0.0);
  return c + vec3(1.0, 0.8, 0.5) * (pow(s, 400.0) * 3.0 + pow(s, 10.0) * 0.28);
}
vec3 normal(vec3 p) { vec2 e = vec2(0.001, 0.0); float d = map(p).x; return normalize(vec3(map(p + e.xyy).x - d, map(p + e.yxy).x - d, map(p + e.yyx).x - d)); }
float shadow(vec3 p) { float t = 0.03, s = 1.0; vec3 l = normalize(SUN); for (int i = 0; i < 40; i++) { float d = map(p + l * t).x; s = min(s, 9.0 * d / t); t += clamp(d, 0.03, 0.4); if (s < 0.02 || t > 8.0) break; } return clamp(s, 0.0, 1.0); }
float march(vec3 ro, vec3 rd, out float id) {
  float t = 0.02; id = 0.0;
  for (int i = 0; i < 160; i++) { vec2 d = map(ro + rd * t); if (d.x < 0.0006 * t) { id = d.y; break; } t += d.x * 0.9; if (t > 40.0) break; }
  return t;
}
vec3 paint(vec3 w, float id) {
  vec3 p = tilt(w);
  if (id == 1.0) {
    if (p.y < -0.03) return vec3(0.30, 0.34, 0.42);
    vec2 k = floor(p.xz * 1.0);
    vec3 c = mod(k.x + k.y, 2.0) < 0.5 ? vec3(0.93, 0.95, 0.93) : vec3(0.12, 0.56, 0.36);
    return c * (0.93 + 0.09 * noise(p.xz * 24.0));
  }
  if (id == 2.0) {
    vec3 q = p - BALL; q.xy = mat2(0.8, 0.6, -0.6, 0.8) * q.xy; q.yz = mat2(0.9, -0.43, 0.43, 0.9) * q.yz;
    float band = smoothstep(0.02, 0.0, abs(abs(q.y) - 0.16) - 0.05);
    float star = step(0.5, fract(atan(q.z, q.x) * 6.0 / 6.2832));
    return mix(mix(vec3(0.82, 0.12, 0.13), vec3(0.95, 0.3, 0.12), star * step(0.24, abs(q.y))), vec3(1.0, 0.93, 0.8), band);
  }
  if (id == 3.0) return vec3(0.92, 0.55, 0.14);
  if (id == 4.0) return vec3(1.0, 0.72, 0.12);
  if (id == 5.0) return vec3(0.95, 0.2, 0.22);
  return vec3(0.35, 0.75, 1.0);
}
vec3 shade(vec3 ro, vec3 rd, float bounce) {
  float id; float t = march(ro, rd, id);
  if (id == 0.0) return sky(rd);
  vec3 p = ro + rd * t, n = normal(p), l = normalize(SUN), c = paint(p, id);
  float light = max(dot(n, l), 0.0) * shadow(p + n * 0.01);
  float ao = clamp(map(p + n * 0.25).x / 0.25, 0.25, 1.0);
  vec3 r = reflect(rd, n);
  float shine = id == 2.0 ? 220.0 : 60.0;
  vec3 lit = c * (light * vec3(1.25, 1.12, 0.92) + ao * mix(vec3(0.28, 0.3, 0.34), vec3(0.42, 0.55, 0.75), n.y * 0.5 + 0.5));
  lit += pow(max(dot(r, l), 0.0), shine) * light * (id == 2.0 ? 2.6 : 0.5);
  if (id == 6.0) lit += c * 0.7;
  float fresnel = pow(1.0 - max(dot(n, -rd), 0.0), 5.0);
  float mirror = id == 2.0 ? 0.16 + 0.7 * fresnel : id >= 4.0 ? 0.25 : 0.07 + 0.35 * fresnel;
  if (bounce > 0.5) {
    float id2; float t2 = march(p + n * 0.01, r, id2);
    vec3 m = sky(r);
    if (id2 != 0.0) { vec3 q = p + r * t2, nq = normal(q); m = paint(q, id2) * (0.42 + max(dot(nq, l), 0.0)); }
    lit = mix(lit, m, mirror);
  }
  return mix(lit, sky(rd), 1.0 - exp(-t * t * 0.0012));
}
void main() {
  vec3 sum = vec3(0.0);
  for (int i = 0; i < 9; i++) {
    vec2 px = gl_FragCoord.xy + vec2(mod(float(i), 3.0), floor(float(i) / 3.0)) / 3.0;
    vec2 p = (px - size * 0.5) / size.y;
    vec3 ro = vec3(0.2, 2.25, -3.7), at = vec3(0.7, 0.62, 2.4), f = normalize(at - ro), s = normalize(cross(vec3(0.06, 1, 0), f));
    vec3 rd = normalize(f * 1.25 + s * p.x + cross(f, s) * p.y);
    sum += shade(ro, rd, 1.0);
  }
  vec3 c = sum / 9.0;
  c = c / (c + 0.85) * 1.7;
  float grey = dot(c, vec3(0.3, 0.6, 0.1));
  c = pow(max(mix(vec3(grey), c, 1.35), 0.0), vec3(1.35));
  gl_FragColor = vec4(c, 1.0);
}
