/** Who plays: a guest, who may log in, or a player, who may log out. */
import type { LobbyModel } from "./lobby-model.ts";

export function Account({ model }: { readonly model: LobbyModel }) {
  const me = model.identity.me.value;
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
  const path = me ? me.login_path : model.identity.loginPath.value;
  if (path === null) return null;
  return (
    <a class="button small" data-action="log-in" href={path}>
      Log in
    </a>
  );
}

/** Where nobody has logged in who may ask for anything: the way in. */
export function WayIn({ model }: { readonly model: LobbyModel }) {
  const { shut, loginPath, guests } = model.identity;
  const over = shut.value === "login-over";
  return (
    <section class="empty" data-problem={over ? "login-over" : "log-in"}>
      <h2>{over ? "Your login is over" : "Log in to play"}</h2>
      <p>{over ? "Log in again to go on with your sessions and saves." : "This Nearlight takes no guests."}</p>
      <p class="way-in">
        {loginPath.value !== null && (
          <a class="button primary" data-action="log-in" href={loginPath.value}>
            Log in
          </a>
        )}
        {over && guests.value && (
          <button type="button" class="button" data-action="become-guest" onClick={() => void model.becomeGuest()}>
            Play as a guest
          </button>
        )}
      </p>
    </section>
  );
}
