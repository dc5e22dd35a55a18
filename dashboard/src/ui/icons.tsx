/** Line icons on a grid of 16, drawn for this page. They stand beside words and are hidden from screen readers. */
import type { ReactNode, SVGProps } from "react";

function icon(children: ReactNode) {
  return function Icon(props: SVGProps<SVGSVGElement>) {
    return (
      <svg
        viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" strokeWidth="1.4"
        strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false" {...props}
        className={`shrink-0 ${props.className ?? ""}`}
      >
        {children}
      </svg>
    );
  };
}

export const IconOverview = icon(<path d="M2 9.5h2.5l1.7-5 3 8 1.8-5 .8 2H14" />);
export const IconAlerts = icon(<><path d="M4 7a4 4 0 0 1 8 0c0 3.2 1.3 4 1.3 4H2.700S4 10.2 4 7Z" /><path d="M6.7 13.500a1.5 1.5 0 0 0 2.6 0" /></>);
export const IconProposals = icon(<><path d="M6 13h4M6.5 15h3" /><path d="M5.7 11c0-1.3-2-2.2-2-4.800a4.3 4.3 0 0 1 8.6 0c0 2.6-2 3.5-2 4.800Z" /></>);
export const IconValidations = icon(<><path d="M6 2h4M6.5 2v4.200L3 12.300A1.2 1.2 0 0 0 4 14h8a1.2 1.2 0 0 0 1-1.700L9.5 6.200V2" /><path d="M4.8 10h6.4" /></>);
export const IconRollouts = icon(<><path d="M2 13h3V9H2zM6.5 13h3V6h-3zM11 13h3V3h-3z" /></>);
export const IconTrends = icon(<><path d="M2 2.500v11h12" /><path d="m4.5 10 3-3.5 2.3 2L14 4" /></>);
export const IconImpact = icon(<><circle cx="8" cy="8" r="6" /><circle cx="8" cy="8" r="2.5" /></>);
export const IconJobs = icon(<><path d="M3 4h10M3 8h10M3 12h6" /></>);
export const IconMail = icon(<><rect x="2" y="3.5" width="12" height="9" rx="1" /><path d="m2.5 4.5 5.5 4 5.5-4" /></>);
export const IconSettings = icon(<><path d="M2 4.500h7M12.5 4.500H14M2 11.500h1.500M7 11.500h7" /><circle cx="10.7" cy="4.5" r="1.7" /><circle cx="5.2" cy="11.5" r="1.7" /></>);
export const IconMore = icon(<><path d="M2 4h12M2 8h12M2 12h12" /></>);
export const IconOk = icon(<><circle cx="8" cy="8" r="6" /><path d="m5.3 8.2 1.9 1.9 3.5-4" /></>);
export const IconWarn = icon(<><path d="M8 2.3 14.3 13.300H1.700Z" /><path d="M8 6.500v3M8 11.400v.1" /></>);
export const IconBad = icon(<><path d="M5.5 2h5L14 5.500v5L10.5 14h-5L2 10.500v-5Z" /><path d="M8 5v3.500M8 10.900v.1" /></>);
export const IconInfo = icon(<><circle cx="8" cy="8" r="6" /><path d="M8 7.300v3.500M8 5v.1" /></>);
export const IconUnknown = icon(<><circle cx="8" cy="8" r="6" strokeDasharray="2 2" /><path d="M6.3 6.300A1.7 1.7 0 1 1 8 8.300v.7M8 11.200v.1" /></>);
export const IconClock = icon(<><circle cx="8" cy="8" r="6" /><path d="M8 4.700V8l2.2 1.5" /></>);
export const IconCheck = icon(<path d="m3 8.5 3.3 3.300L13 4.5" />);
export const IconCross = icon(<path d="m4 4 8 8M12 4l-8 8" />);
export const IconMinus = icon(<path d="M3.5 8h9" />);
export const IconPause = icon(<path d="M5.5 3.500v9M10.5 3.500v9" />);
export const IconPlay = icon(<path d="M5 3v10l8-5Z" />);
export const IconUndo = icon(<><path d="M5.5 3 2.5 6l3 3" /><path d="M2.5 6H10a3.5 3.5 0 0 1 0 7H6" /></>);
export const IconOut = icon(<><path d="M9.5 2.500h4v4M13.5 2.5 8 8" /><path d="M11.5 9v4h-9V4h4" /></>);
export const IconRight = icon(<path d="m6 3.5 4.5 4.500L6 12.5" />);
export const IconArrow = icon(<path d="M2.5 8h11M9.5 4l4 4-4 4" />);
export const IconRetry = icon(<><path d="M13.5 8a5.5 5.5 0 1 1-1.6-3.9" /><path d="M13.5 2v3h-3" /></>);
export const IconLock = icon(<><rect x="3" y="7" width="10" height="7" rx="1" /><path d="M5 7V5a3 3 0 0 1 6 0v2" /></>);
export const IconSun = icon(<><circle cx="8" cy="8" r="2.7" /><path d="M8 1.500v1.300M8 13.200v1.300M1.5 8h1.300M13.2 8h1.300M3.4 3.400l.9.9M11.7 11.700l.9.9M12.6 3.400l-.9.9M4.3 11.700l-.9.9" /></>);
export const IconMoon = icon(<path d="M13.5 9.800A5.8 5.8 0 0 1 6.2 2.500a5.8 5.8 0 1 0 7.3 7.300Z" />);
export const IconAuto = icon(<><circle cx="8" cy="8" r="6" /><path d="M8 2v12a6 6 0 0 0 0-12Z" fill="currentColor" /></>);
export const IconUser = icon(<><circle cx="8" cy="5.5" r="2.7" /><path d="M2.8 14a5.2 5.2 0 0 1 10.4 0" /></>);
export const IconDot = icon(<circle cx="8" cy="8" r="2.5" fill="currentColor" stroke="none" />);
export const IconMute = icon(<><path d="M4 7a4 4 0 0 1 6-3.500M12 7c0 3.2 1.3 4 1.3 4H6M2.7 11S4 10.2 4 7" /><path d="m2 2 12 12" /></>);
