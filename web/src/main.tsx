import { createRoot } from "react-dom/client";
import { App } from "./App";
import { applyTheme, theme } from "./parts/theme";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";

applyTheme(theme());
const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
