/** A round button of the dock: an icon, with words for those who do not see it. */
import { Icon, type IconName } from "./icons.tsx";

type DockButtonProps = {
  readonly action: string;
  readonly icon: IconName;
  readonly label: string;
  readonly hint?: string;
  readonly pressed?: boolean;
  /** A number at its corner; none for 0. */
  readonly badge?: number;
  readonly onClick: () => void;
};

export function DockButton({ action, icon, label, hint, pressed, badge = 0, onClick }: DockButtonProps) {
  return (
    <button
      type="button"
      class="dock-button"
      data-action={action}
      aria-label={label}
      title={hint ? `${label} (${hint})` : label}
      {...(pressed === undefined ? {} : { "aria-pressed": pressed })}
      onClick={onClick}
    >
      <Icon name={icon} />
      {badge > 0 && <span class="badge">{badge}</span>}
    </button>
  );
}
