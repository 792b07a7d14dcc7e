// Text to paragraphs, ``` blocks and `code`, as nodes: nothing in the text can become markup.

/** Show `text` in `target`, touching only the blocks that changed since the last call. */
export function render(target, text) {
  const wanted = blocks(text);
  wanted.forEach((block, place) => {
    const shown = target.children[place];
    if (shown?.source === block.source) return;
    const node = block.code === undefined ? paragraph(block.source) : codeBlock(block);
    node.source = block.source;
    if (shown) shown.replaceWith(node);
    else target.append(node);
  });
  while (target.children.length > wanted.length) target.lastElementChild.remove();
}

function blocks(text) {
  const found = [];
  let lines = [];
  let fence = null; // lines of the ``` block that is open
  const close = () => {
    const source = lines.join("\n").trim();
    if (source) found.push({ source });
    lines = [];
  };
  for (const line of text.split("\n")) {
    if (fence) {
      fence.source += `\n${line}`;
      if (line.trim() === "```") fence = null;
      else fence.code.push(line);
    } else if (/^\s*```[\w+#.-]*\s*$/.test(line)) {
      close();
      fence = { source: line, code: [] };
      found.push(fence);
    } else if (line.trim()) {
      lines.push(line);
    } else {
      close();
    }
  }
  close();
  return found;
}

function paragraph(source) {
  const node = document.createElement("p");
  source.split(/`([^`\n]+)`/).forEach((piece, place) => {
    if (place % 2 === 0) return node.append(piece);
    const code = document.createElement("code");
    code.textContent = piece;
    node.append(code);
  });
  return node;
}

function codeBlock({ code }) {
  const node = document.createElement("pre");
  node.tabIndex = 0; // wide code is scrolled with the keyboard too
  node.append(document.createElement("code"));
  node.firstChild.textContent = code.join("\n");
  return node;
}
