import { useSession } from "@/account/session";

export type Role = "trainer" | "reviewer" | "admin";

/** Whether the person at the page may do the work of a role; an admin may do everything. */
export function useMay(): (role: Role) => boolean {
  const { data: me } = useSession();
  const roles = me?.roles ?? [];
  return (role) => roles.includes(role) || roles.includes("admin");
}
