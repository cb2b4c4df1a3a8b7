// The print button of a printed copy.
document.getElementById("print").addEventListener("click", () => window.print());
