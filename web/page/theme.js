// Light, dark, or as the system has it. Runs before the page is drawn, so that it does not flash.
(() => {
  const root = document.documentElement;
  /** @param {string} theme */
  const show = (theme) => (theme === "auto" ? root.removeAttribute("data-theme") : root.setAttribute("data-theme", theme));
  const kept = () => {
    try {
      return localStorage.getItem("tidings-theme") ?? "auto";
    } catch {
      return "auto"; // storage is forbidden: the choice lasts as long as the page
    }
  };
  show(kept());
  addEventListener("DOMContentLoaded", () => {
    const choices = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#theme input"));
    for (const choice of choices) {
      choice.checked = choice.value === kept();
      choice.addEventListener("change", () => {
        show(choice.value);
        try {
          localStorage.setItem("tidings-theme", choice.value);
        } catch {
          // As above.
        }
      });
    }
  });
})();
