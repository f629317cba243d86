/**
 * Two nginx in series, with the legs that the endpoint of jobs has: TLS to the first one, TLS with
 * certificates on both sides to the second one, plain HTTP to the upstream. The certificates' authority is
 * the bench's own.
 */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freeTcpPort } from "../harness/ports.js";
import { descendants } from "../harness/processes.js";
import { until } from "../harness/until.js";

const NGINX = "/usr/sbin/nginx";

export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** An authority, and a certificate for all names below `domain`, in `dir`. P-256, as the network's own are. */
export function certificates(dir: string, domain: string): Certificates {
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
  };
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench", "-addext", "basicConstraints=critical,CA:TRUE");
  openssl("req", ...curve, "-keyout", "key.pem", "-out", "cert.csr", "-subj", `/CN=${domain}`);
  writeFileSync(join(dir, "names"), `subjectAltName=DNS:*.${domain},DNS:${domain}\n`);
  openssl("x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "cert.pem");
  const at = (name: string): string => join(dir, name);
  return { ca: at("ca.pem"), cert: at("cert.pem"), key: at("key.pem") };
}

/** What both have. Buffers large enough that neither waits for the other more often than it must. */
function config(dir: string, name: string, server: string): string {
  return `
daemon off;
pid ${dir}/${name}.pid;
error_log ${dir}/${name}.log warn;
worker_processes 2;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${dir}/${name}-body;
  proxy_temp_path ${dir}/${name}-proxy;
  fastcgi_temp_path ${dir}/${name}-fastcgi;
  uwsgi_temp_path ${dir}/${name}-uwsgi;
  scgi_temp_path ${dir}/${name}-scgi;
  keepalive_requests 100000;
  client_max_body_size 0;
  ssl_protocols TLSv1.3;
  ssl_certificate ${dir}/cert.pem;
  ssl_certificate_key ${dir}/key.pem;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_request_buffering off;
  proxy_buffering on;
  proxy_buffer_size 64k;
  proxy_buffers 16 64k;
  proxy_busy_buffers_size 256k;
  proxy_max_temp_file_size 0;
  ${server}
}
`;
}

/** Both of them, in front of `upstream`, on ports of their own. */
export class TwoNginx {
  private constructor(
    readonly port: number,
    private readonly both: readonly ChildProcess[],
  ) {}

  static async start(dir: string, domain: string, upstream: string): Promise<TwoNginx> {
    const [outer, inner] = [await freeTcpPort(), await freeTcpPort()];
    const legs = {
      outer: `
  upstream inner { server 127.0.0.1:${inner}; keepalive 64; }
  server {
    listen 127.0.0.1:${outer} ssl;
    location / {
      proxy_pass https://inner;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_certificate ${dir}/cert.pem;
      proxy_ssl_certificate_key ${dir}/key.pem;
      proxy_ssl_trusted_certificate ${dir}/ca.pem;
      proxy_ssl_name ${domain};
      proxy_ssl_verify on;
    }
  }`,
      inner: `
  upstream app { server ${upstream}; keepalive 64; }
  server {
    listen 127.0.0.1:${inner} ssl;
    ssl_client_certificate ${dir}/ca.pem;
    ssl_verify_client on;
    location / { proxy_pass http://app; }
  }`,
    };
    const both = Object.entries(legs).map(([name, server]) => {
      const file = join(dir, `${name}.conf`);
      writeFileSync(file, config(dir, name, server));
      return spawn(NGINX, ["-p", dir, "-c", file, "-e", join(dir, `${name}.log`)], { stdio: ["ignore", "ignore", "inherit"] });
    });
    const started = new TwoNginx(outer, both);
    await until("both nginx to have workers", () => both.every(({ pid }) => pid !== undefined && descendants(pid).length > 0));
    return started;
  }

  /** Masters and workers. */
  get pids(): number[] {
    const masters = this.both.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    return masters.flatMap((pid) => [pid, ...descendants(pid).map((child) => child.pid)]);
  }

  stop(): void {
    for (const one of this.both) one.kill("SIGTERM");
  }
}
