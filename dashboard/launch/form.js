// Names the optimizers' columns as groups, ties each field to its description, takes the help icons out of the order of
// the Tab key, and moves the focus from an error to its field. Streamlit has no calls for these.

const INPUT = "input, textarea";

export default function ({ parentElement, data }) {
  const page = parentElement.closest("[data-testid=stMain]") ?? document.body;
  const notes = document.createElement("div");
  notes.hidden = true;
  for (const [field, text] of Object.entries(data.helps)) {
    const note = document.createElement("span");
    note.id = `help-${field}`;
    note.textContent = text;
    notes.append(note);
  }
  parentElement.replaceChildren(notes);

  const apply = () => {
    for (const head of page.querySelectorAll("[data-group]")) {
      const group = head.closest("[data-testid=stColumn]") ?? head.parentElement;
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", head.dataset.group);
    }
    for (const field of Object.keys(data.helps)) {
      page.querySelector(`.${field}`)?.querySelector(INPUT)?.setAttribute("aria-describedby", `help-${field}`);
    }
    for (const icon of page.querySelectorAll("[data-testid=stTooltipIcon] :is(button, [tabindex])")) icon.tabIndex = -1;
  };
  const follow = (event) => {
    const link = event.target.closest("a[data-field]");
    const input = link && page.querySelector(`.${CSS.escape(link.dataset.field)}`)?.querySelector(INPUT);
    if (!input) return;
    event.preventDefault();
    for (let at = input.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    input.focus();
  };
  const watch = new MutationObserver(apply);
  watch.observe(page, { childList: true, subtree: true });
  page.addEventListener("click", follow);
  apply();
  return () => {
    watch.disconnect();
    page.removeEventListener("click", follow);
  };
}
