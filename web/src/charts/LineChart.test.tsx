import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import { LineChart, type Series } from "./LineChart";

afterEach(cleanup);

const chart = (...series: Series[]) => (
  <LineChart title="Loss" unit="nats" along="step" series={series} say={(value) => value.toFixed(1)} />
);
const training = (count: number): Series => ({
  name: "training",
  points: Array.from({ length: count }, (_, place) => [place + 1, 5 - place / 10] as const),
  colour: 1,
});
const heldOut: Series = { name: "held out", points: [[2, 9]], colour: 2, sparse: true };

it("says the last value, and any other by its slider", () => {
  render(chart(training(4), heldOut));
  const slider = screen.getByRole("slider", { name: "Loss, nats" });
  expect(slider.getAttribute("aria-valuetext")).toBe("step 4: training 4.7, held out 9.0");
  fireEvent.change(slider, { target: { value: "1" } });
  expect(slider.getAttribute("aria-valuetext")).toBe("step 2: training 4.9, held out 9.0");
  fireEvent.change(slider, { target: { value: "0" } });
  expect(slider.getAttribute("aria-valuetext")).toBe("step 1: training 5.0");
});

it("grows, and keeps to the end when nobody reads", () => {
  const { rerender, container } = render(chart(training(4)));
  const before = container.querySelector(".line")?.getAttribute("d");
  rerender(chart(training(6)));
  expect(screen.getByRole("slider").getAttribute("aria-valuetext")).toBe("step 6: 4.5");
  expect(container.querySelector(".line")?.getAttribute("d")).not.toBe(before);
});

it("draws a mean over many points, but not where they are exact", () => {
  const { rerender, container } = render(chart(training(40)));
  expect(container.querySelectorAll("path")).toHaveLength(2);
  rerender(chart({ ...training(40), exact: true }));
  expect(container.querySelectorAll("path")).toHaveLength(1);
});

it("has a table of at most some hundred steps, the last one among them", () => {
  const { container } = render(chart(training(999)));
  const details = container.querySelector("details");
  if (details) details.open = true;
  fireEvent(details as Element, new Event("toggle"));
  const steps = [...container.querySelectorAll("tbody tr td:first-child")].map((cell) => Number(cell.textContent));
  expect(steps.length).toBeGreaterThan(150);
  expect(steps.length).toBeLessThanOrEqual(200);
  expect(steps.at(-1)).toBe(999);
});

it("is whole with one point, and with none", () => {
  const { container, rerender } = render(chart(training(1)));
  expect(container.innerHTML).not.toContain("NaN");
  rerender(chart());
  expect(container.innerHTML).not.toContain("NaN");
});
