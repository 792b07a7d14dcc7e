import type { Token, Tokens } from "marked";
import type { ReactNode } from "react";
import { useWords } from "@/i18n";
import { decoded, safeAddress } from "./blocks";
import { Maths } from "./Maths";
import type { MathsToken } from "./maths_syntax";

const DEEPEST = 16;

/** Words within a block. */
export function Inline({ tokens, depth = 0 }: { tokens: Token[]; depth?: number }): ReactNode {
  if (depth > DEEPEST) return tokens.map((token) => token.raw).join("");
  // biome-ignore lint/suspicious/noArrayIndexKey: a word is what stands at its place
  return tokens.map((token, place) => <Word key={place} token={token} depth={depth} />);
}

function Word({ token, depth }: { token: Token; depth: number }): ReactNode {
  const within = "tokens" in token ? token.tokens : undefined;
  const inside = () => <Inline tokens={within ?? []} depth={depth + 1} />;
  switch (token.type) {
    case "text":
      return within ? inside() : decoded((token as Tokens.Text).text);
    case "escape":
      return (token as Tokens.Escape).text;
    case "strong":
      return <strong>{inside()}</strong>;
    case "em":
      return <em>{inside()}</em>;
    case "del":
      return <del>{inside()}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "br":
      return <br />;
    case "maths": {
      const { tex, display } = token as unknown as MathsToken;
      return <Maths tex={tex} display={display} />;
    }
    case "link":
      return <Anchor address={(token as Tokens.Link).href}>{inside()}</Anchor>;
    case "image":
      return <Picture token={token as Tokens.Image} />;
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw) ? <br /> : token.raw;
    default:
      return token.raw;
  }
}

function Anchor({ address, children }: { address: string; children: ReactNode }) {
  const safe = safeAddress(address);
  if (!safe) return children;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** A picture would tell its host who reads, and what the model put into its address: only a link is shown. */
function Picture({ token }: { token: Tokens.Image }) {
  const words = useWords();
  return <Anchor address={token.href}>{words.imageOf(token.text || token.href)}</Anchor>;
}
