/** Who plays: a guest, who may log in, or a player, who may log out. */
import type { LobbyModel } from "./lobby-model.ts";

export function Account({ model }: { readonly model: LobbyModel }) {
  const me = model.me.value;
  if (me?.role === "player") {
    return (
      <div class="account" data-account="player">
        <span class="account-name" title="You are logged in">
          {me.name}
        </span>
        <button type="button" class="button small quiet" data-action="log-out" onClick={() => void model.logOut()}>
          Log out
        </button>
      </div>
    );
  }
  const path = me ? me.login_path : model.loginPath.value;
  if (path === null) return null;
  return (
    <a class="button small" data-action="log-in" href={path}>
      Log in
    </a>
  );
}

/** Where no guests are taken, and nobody has logged in: the way in. */
export function WayIn({ model }: { readonly model: LobbyModel }) {
  const path = model.loginPath.value;
  return (
    <section class="empty" data-problem="log-in">
      <h2>Log in to play</h2>
      <p>This Nearlight takes no guests.</p>
      {path !== null && (
        <p>
          <a class="button primary" data-action="log-in" href={path}>
            Log in
          </a>
        </p>
      )}
    </section>
  );
}
