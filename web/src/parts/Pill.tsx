import type { ReactNode } from "react";

type Props = {
  name: string;
  value: string;
  type?: "checkbox" | "radio";
  defaultChecked?: boolean | undefined;
  required?: boolean;
  children: ReactNode;
};

/** A word to be chosen, in a form. */
export function Pill({ type = "checkbox", children, ...input }: Props) {
  return (
    <label className="pill">
      <input type={type} {...input} />
      {children}
    </label>
  );
}
