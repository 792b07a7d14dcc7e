import { Component, type ReactNode } from "react";

type Props = { children: ReactNode; instead: ReactNode };

/** Shows something else where a part of the page broke; the rest goes on. */
export class ErrorBoundary extends Component<Props, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    return this.state.broken ? this.props.instead : this.props.children;
  }
}
