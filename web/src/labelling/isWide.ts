/** Whether there is room for something beside or above the work. */
export const isWide = () => matchMedia("(min-width: 64rem)").matches;
