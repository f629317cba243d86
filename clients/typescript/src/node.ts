/**
 * For Node.js: which broker and with which key, from the environment and `nearlight login`; and job files.
 *
 * **Invariant.** A profile's key goes to that profile's URL and nowhere else.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { Client, type JobSpec } from "./client.js";
import { ConfigError } from "./errors.js";

/** Where `nearlight up` listens unless it is told otherwise. */
const DEFAULT_URL = "http://127.0.0.1:8080";

interface Profiles {
  current?: string;
  profiles?: Record<string, { url: string; key: string }>;
}

/**
 * A client of the broker that is given, of NEARLIGHT_URL, or of the last `nearlight login`. The key is the one
 * given, of NEARLIGHT_TOKEN, or of the login to this broker.
 */
export function connect(given: { url?: string; token?: string } = {}, env: NodeJS.ProcessEnv = process.env): Client {
  const { current = "", profiles = {} } = readProfiles(env);
  const url = (given.url || env["NEARLIGHT_URL"] || profiles[current]?.url || DEFAULT_URL).replace(/\/+$/, "");
  const profile = Object.values(profiles).find((of) => of.url.replace(/\/+$/, "") === url);
  const token = given.token || env["NEARLIGHT_TOKEN"] || profile?.key;
  if (!token) {
    throw new ConfigError(
      `no API key for ${url}: log in with \`nearlight login ${url}\`, set NEARLIGHT_TOKEN, or give \`token\``,
    );
  }
  return new Client({ url, token });
}

/** The job in a `job.toml`. */
export function readJob(path: string): JobSpec {
  return readToml(path, "job") as unknown as JobSpec;
}

function readProfiles(env: NodeJS.ProcessEnv): Profiles {
  const config = env["XDG_CONFIG_HOME"] || (env["HOME"] && join(env["HOME"], ".config"));
  if (!config) return {};
  try {
    return readToml(join(config, "nearlight", "profiles.toml"), "file of profiles") as Profiles;
  } catch (error) {
    const cause = error instanceof ConfigError ? error.cause : error;
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

function readToml(path: string, what: string): Record<string, unknown> {
  try {
    return parse(readFileSync(path, "utf8"));
  } catch (error) {
    const verb = (error as NodeJS.ErrnoException).code === undefined ? `is no ${what}` : "cannot be read";
    throw new ConfigError(`${path} ${verb}: ${(error as Error).message}`, { cause: error });
  }
}
